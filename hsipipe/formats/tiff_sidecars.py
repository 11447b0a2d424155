"""Read what files next to a TIFF say about its bands: ENVI's header, METADATA.XML of EnMAP and DESIS."""

import logging
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import with_wavelengths, with_widths
from hsipipe.formats.envi_bands import ignored_values, with_bands
from hsipipe.formats.envi_files import has_data, header_of
from hsipipe.formats.envi_header import read_header, text_of, whole
from hsipipe.formats.wavelengths import centres
from hsipipe.formats.xml_files import number_in, read_xml

logger = logging.getLogger(__name__)

_FILL = -32768
"""Value without data of EnMAP, by its product guide."""
_EMPTY_MEAN = -1_000_000
"""Mean that EnMAP's statistics give for a band without data."""


def sidecars(path: Path) -> list[Path]:
    """List the files next to a TIFF that describe its bands."""
    return [found for found in (_header(path), _metadata(path)) if found is not None]


def with_side_facts(cube: xr.DataArray, path: Path, *, dtype: Any, may_mask: bool) -> xr.DataArray:
    """Attach wavelengths, widths and bad bands that files next to the TIFF state, where the TIFF has none itself.

    Args:
        cube: Cube of the TIFF.
        path: The TIFF.
        dtype: Type of its numbers.
        may_mask: The TIFF marks no value as no data and has no scale, so a value that the side file marks becomes NaN.
    """
    header, metadata = _header(path), _metadata(path)
    if header is not None:
        try:
            cube = _with_header(cube, header, may_mask)
        except FileFormatError as error:
            logger.warning("%s is ignored: %s", header, error)
    if metadata is not None:
        try:
            cube = _with_metadata(cube, metadata, np.dtype(dtype), may_mask)
        except FileFormatError as error:
            logger.warning("%s is ignored: %s", metadata, error)
    return cube


def _header(path: Path) -> Path | None:
    header = header_of(path)
    if header is None or header.name.lower() == f"{path.name.lower()}.hdr" or not has_data(header):
        return header
    return header if "tiff" in text_of(read_header(header), "file type").lower() else None  # that of raw numbers


def _metadata(path: Path) -> Path | None:
    """Return ``X-METADATA.XML`` of ``X-SPECTRAL_IMAGE.TIF``, in any case."""
    match = re.match(r"(.*)SPECTRAL_IMAGE", path.stem, re.IGNORECASE)
    if match is None:
        return None
    wanted = f"{match[1]}METADATA.XML".lower()
    return next(
        (file for file in sorted(path.parent.iterdir()) if file.name.lower() == wanted and file.is_file()), None
    )


def _with_header(cube: xr.DataArray, header: Path, may_mask: bool) -> xr.DataArray:
    fields = read_header(header)
    shape = tuple(whole(fields, name, least=1) for name in ("bands", "lines", "samples"))
    if shape != cube.shape:
        raise FileFormatError(f"it describes {shape} bands, lines and samples, the TIFF has {cube.shape}")
    ignored = ignored_values(fields, len(cube)) if may_mask else None
    if ignored is not None:
        marks = np.broadcast_to(ignored.astype(np.float32), len(cube))
        cube = cube.where(cube != xr.DataArray(marks, dims="band"))
    return with_bands(cube, fields)


def _with_metadata(cube: xr.DataArray, metadata: Path, dtype: np.dtype[Any], may_mask: bool) -> xr.DataArray:
    root, count = read_xml(metadata), len(cube)
    bands = sorted(
        (element for element in root.iter() if number_in(element, "wavelengthCenterOfBand") is not None),
        key=lambda element: _number_of(element) or 0,
    )
    if [_number_of(element) for element in bands] != list(range(1, count + 1)):
        raise FileFormatError(f"it describes {len(bands)} bands, expected 1 to {count}")
    is_enmap = any(element.tag == "bandID" for element in bands)
    if is_enmap and may_mask and dtype == np.int16:
        cube = cube.where(cube != _FILL)
    empty = [n for element in root.iter("bandID") if _is_empty(element) and (n := _number_of(element))]
    if empty:
        cube = cube.assign_attrs(bad_bands=sorted({*cube.attrs.get("bad_bands", []), *empty}))
    gains = {number_in(element, "GainOfBand") for element in bands}
    gain = gains.pop() if len(gains) == 1 else None
    if "L2A" in metadata.name.upper() and gain and not any(number_in(element, "OffsetOfBand") for element in bands):
        cube = cube.assign_attrs({"reflectance_scale_factor": round(1 / gain, 6), **cube.attrs})
    nm = centres([number_in(element, "wavelengthCenterOfBand") for element in bands], "nm")
    if "wavelength_nm" in cube.coords or nm is None:
        return cube
    widths = [number_in(element, "FWHMOfBand", "wavelengthWidthOfBand") for element in bands]
    cube = with_wavelengths(cube, nm)
    return cube if None in widths else with_widths(cube, np.array(widths, dtype=float))


def _number_of(element: Element) -> int | None:
    """Return the number of a band: an attribute of EnMAP's elements, a child of DESIS's."""
    text = element.get("number")
    number = float(text) if text and text.strip().isdecimal() else number_in(element, "bandNumber")
    return int(number) if number is not None and number.is_integer() else None


def _is_empty(element: Element) -> bool:
    return number_in(element, "stdDeviation") == 0 and number_in(element, "mean") == _EMPTY_MEAN
