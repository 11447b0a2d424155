"""Keep what a TIFF can say besides its values: names of bands, wavelengths, widths, attributes, position."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.formats.band_facts import DETECTOR, FWHM_NM, band_names, with_detectors, with_names
from hsipipe.formats.base import with_widths
from hsipipe.formats.cf import is_spent
from hsipipe.formats.georeference import crs_of, gcps_of, rpcs_of, transform_of
from hsipipe.formats.wavelengths import in_nm
from hsipipe.json_text import parse_json

logger = logging.getLogger(__name__)

# Attributes that are not text, and the parser of each.
_PARSED: dict[str, Callable[[str], Any]] = {
    "gsd_m": float,
    "reflectance_scale_factor": float,
    "bad_bands": parse_json,
}
# Tags that GDAL derives from the file, or that say the wavelengths, which are coordinates of the cube.
_DERIVED = re.compile(r"AREA_OR_POINT|STATISTICS_.*|band_\d+|.*wavelength.*|.*fwhm.*", re.IGNORECASE)
_LABEL = re.compile(r"[\d.]+ nm")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # not allowed in XML, in which GDAL stores tags
_WIDTHS = ("fwhm", "fwhm_nm")
_IMAGERY = "IMAGERY"
"""GDAL's domain of the facts about a band."""


def with_tags(cube: xr.DataArray, tags: Mapping[str, str]) -> xr.DataArray:
    """Attach the tags of a file as attributes."""
    found: dict[str, Any] = {}
    for key, value in tags.items():
        if _DERIVED.fullmatch(key) or is_spent(key):
            continue
        try:
            found[key] = _PARSED.get(key, str)(value)
        except ValueError:
            logger.warning("the tag %s is %r and is ignored", key, value)
    return cube.assign_attrs(found)


def with_band_tags(cube: xr.DataArray, texts: Sequence[str | None], tags: Sequence[Mapping[str, str]]) -> xr.DataArray:
    """Attach the names, the detectors and the widths of the bands.

    Args:
        cube: Cube.
        texts: Description of each band.
        tags: Tags of each band.
    """
    # A wavelength alone is the description of a band without a name.
    cube = with_names(cube, ["" if _LABEL.fullmatch(text or "") else text for text in texts])
    detectors = [entry.get(DETECTOR, "") for entry in tags]
    if all(detectors):
        cube = with_detectors(cube, detectors)
    words = [_width(entry) for entry in tags]
    if len(words) == cube.sizes["band"] and None not in words:
        cube = with_widths(cube, np.array(words, dtype=np.float64))
    return cube


def write_tags(raster: Any, cube: xr.DataArray) -> None:
    """Write names, wavelengths, widths, attributes and position of a cube to a raster that is being written.

    What a TIFF cannot hold is named in a warning.
    """
    raster.update_tags(**{_key(key): text for key, text in attribute_texts(cube).items()})
    _write_bands(raster, cube)
    transform, gcps, rpcs = transform_of(cube), gcps_of(cube), rpcs_of(cube)
    if transform is None and gcps:
        raster.gcps = gcps, crs_of(cube)
    if rpcs is not None:
        raster.rpcs = rpcs
    warn_of_lost(cube, has_grid=transform is not None or bool(gcps), kind="a TIFF")


def attribute_texts(cube: xr.DataArray) -> dict[str, str]:
    """Return the attributes of a cube as texts, for a file that holds nothing else; :func:`with_tags` reads them."""
    attrs = {str(key): value for key, value in cube.attrs.items() if value is not None and not is_spent(str(key))}
    return {key: _text(value) for key, value in attrs.items()}


def warn_of_lost(cube: xr.DataArray, *, has_grid: bool, kind: str) -> None:
    """Warn of the coordinates of a cube that a file with an evenly spaced grid, or without a grid, cannot hold."""
    lost = [str(name) for name, coord in cube.coords.items() if coord.ndim > 1]
    if not has_grid:
        lost += [dim for dim in ("y", "x") if dim in cube.coords]
    if lost:
        logger.warning(
            "the coordinates %s are not written: %s holds an evenly spaced grid; .nc and .zarr keep them",
            ", ".join(lost), kind,
        )  # fmt: skip


def _write_bands(raster: Any, cube: xr.DataArray) -> None:
    names = band_names(cube)
    nm, widths = (cube[name].values if name in cube.coords else None for name in ("wavelength_nm", FWHM_NM))
    others = [str(name) for name, coord in cube.coords.items() if coord.dims == ("band",)]
    others = [name for name in others if name not in ("band", "band_name", "wavelength_nm", FWHM_NM)]
    for place in range(cube.sizes["band"]):
        facts = {_key(name): str(cube[name].values[place]) for name in others}
        imagery = {}
        if nm is not None:
            facts |= {"wavelength": repr(float(nm[place])), "wavelength_units": "nm"}
            imagery["CENTRAL_WAVELENGTH_UM"] = f"{nm[place] / 1000:.9g}"
        if widths is not None:
            facts |= {"fwhm": repr(float(widths[place])), "fwhm_units": "nm"}
            imagery["FWHM_UM"] = f"{widths[place] / 1000:.9g}"
        label = names[place] if names is not None else ""
        if not label and nm is not None:
            label = f"{nm[place]:g} nm"
        if label:
            raster.set_band_description(place + 1, label)
        if facts:
            raster.update_tags(place + 1, **facts)
        if imagery:
            raster.update_tags(place + 1, ns=_IMAGERY, **imagery)


def _width(tags: Mapping[str, str]) -> float | None:
    lower = {key.lower(): value for key, value in tags.items()}
    found = next((name for name in _WIDTHS if name in lower), None)
    units = lower.get("fwhm_units", "nm" if found == "fwhm_nm" else "")
    value = lower.get(found or "fwhm_um")
    try:
        if found is None:
            units = "um"
        return None if value is None or not units else float(in_nm([float(value)], units)[0])
    except ValueError:
        return None


def _key(name: str) -> str:
    return re.sub(r"[=\s]+", "_", name)  # GDAL writes name=value


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=str)
    return _CONTROL.sub(" ", value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
