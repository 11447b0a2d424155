"""Write ENVI: raw numbers, and the header of a cube next to them, ``x.bil.hdr`` for ``x.bil``.

That name of the header never replaces one of another file. Fields of the position are those that GDAL writes.
"""

import json
import logging
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine

from hsipipe.formats.band_facts import BAD_BANDS, FWHM_NM, band_names
from hsipipe.formats.cf import of_file
from hsipipe.formats.colour_bands import colour_bands
from hsipipe.formats.envi_header import read_header
from hsipipe.formats.envi_layout import TYPES, Layout
from hsipipe.formats.georeference import crs_of, is_same_place, transform_of
from hsipipe.formats.packing import packing_of
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.tiff_tags import attribute_texts, warn_of_lost

logger = logging.getLogger(__name__)

HEADER = ".hdr"
ATTRIBUTES = "hsipipe attributes"
"""Field with the attributes of a cube: JSON in a JSON text, in which braces are escaped."""
POSITION = ("map info", "projection info", "coordinate system string", "geo points")
"""Fields of the position."""
_INTERLEAVES = (".bil", ".bip", ".bsq")
_EXACT = 1e-3
"""Largest difference in pixels of a grid and a turned one: transforms are rounded."""
_BREAKS = re.compile(r"[{},\s]+")


def stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type, least significant byte first, in which ENVI stores values; only extended floats lose digits."""
    kind = {"?": "u1", "b": "i2", "e": "f4", "g": "f8"}.get(dtype.char, f"{dtype.kind}{dtype.itemsize}")
    return np.dtype("<" + kind)


def interleave_of(path: Path) -> str:
    """Return the interleave that the name of a data file, or of a temporary file for it, states: that of ``x.bil``."""
    return [part for part in path.suffixes if part.lower() in _INTERLEAVES][-1].lower().removeprefix(".")


def header_of_cube(cube: xr.DataArray, layout: Layout) -> str:
    """Return the header of a cube (band, y, x) in a file of this layout."""
    bands, height, width = layout.shape
    code = next(code for code, kind in TYPES.items() if np.dtype("<" + kind) == layout.dtype)
    fields: dict[str, Any] = {
        "samples": width, "lines": height, "bands": bands, "header offset": layout.offset,
        "file type": "ENVI Standard", "data type": code, "interleave": layout.interleave, "byte order": 0,
    }  # fmt: skip
    if layout.dtype.kind == "f":
        fields["data ignore value"] = "nan"
    if (packing := packing_of(cube)) is not None:
        fields["data ignore value"] = packing.fill
    if (colours := colour_bands(cube)) is not None:
        fields["default bands"] = _listed(str(band + 1) for band in colours)
    if whence := of_file(cube.attrs):
        fields["description"] = _described(whence)
    fields |= _bands(cube) | _position(cube)
    if texts := attribute_texts(cube):
        text = json.dumps(json.dumps(texts))
        fields[ATTRIBUTES] = text.replace("{", "\\u007b").replace("}", "\\u007d")
    return "ENVI\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())


def read_attributes(text: str) -> dict[str, str]:
    """Return the attributes of a header by the text of its field.

    Raises:
        ValueError: The text is damaged.
    """
    tree = json.loads(json.loads(text))
    if not isinstance(tree, dict):
        raise ValueError("no attributes by name")
    return {str(key): str(value) for key, value in tree.items()}


def _described(whence: dict[str, str]) -> str:
    """Return a line for each text, in braces, of which the texts have none."""
    lines = (f"{key}: {' / '.join(text.splitlines())}" for key, text in whence.items())
    return "{\n" + "\n".join(line.replace("{", "(").replace("}", ")") for line in lines) + "}"


def _bands(cube: xr.DataArray) -> dict[str, str]:
    fields, count = {}, cube.sizes["band"]
    if (names := band_names(cube)) is not None:
        fields["band names"] = _listed(_BREAKS.sub(" ", name).strip() or f"Band {n}" for n, name in enumerate(names, 1))
    if "wavelength_nm" in cube.coords:
        fields |= {"wavelength units": "Nanometers", "wavelength": _listed(map(_number, cube["wavelength_nm"].values))}
    if FWHM_NM in cube.coords:
        fields["fwhm"] = _listed(map(_number, cube[FWHM_NM].values))
    bad = cube.attrs.get(BAD_BANDS)
    if bad is not None:
        fields["bbl"] = _listed("0" if band in np.atleast_1d(bad) else "1" for band in range(1, count + 1))
    return fields


def _position(cube: xr.DataArray) -> dict[str, str]:
    """Return the fields that GDAL writes for the position of a cube."""
    transform, crs = transform_of(cube), crs_of(cube)
    warn_of_lost(cube, has_grid=transform is not None, kind="an ENVI header")
    if transform is None:
        return {}
    if not _can_hold(transform, height=cube.sizes["y"], width=cube.sizes["x"]):
        logger.warning(
            "the position is not written: an ENVI header cannot hold a grid that is sheared, mirrored, or turned with "
            "pixels that are not square; .tif, .nc and .zarr keep it"
        )
        return {}
    profile: dict[str, Any] = {"count": 1, "height": 1, "width": 1, "dtype": "uint8", "transform": transform}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        with open_raster(str(path), driver="ENVI", suffix="ADD", **profile, **({"crs": crs} if crs else {})) as raster:
            raster.write(np.zeros((1, 1, 1), np.uint8))
        written = read_header(path.with_name("a.hdr"))
    return {name: written[name] for name in POSITION if name in written}


def _can_hold(transform: Affine, *, height: int, width: int) -> bool:
    """Return True for a grid along the axes of the map, rows in either direction, and for a turned one.

    GDAL writes size and angle of the pixels; a turned grid has square pixels, and its rows run as in a map.
    """
    across, turn_x, left, turn_y, down, top = transform[:6]
    if turn_x == turn_y == 0:
        return bool(across > 0)
    size, turn = (across - down) / 2, (turn_x + turn_y) / 2
    turned = Affine(size, turn, left, turn, -size, top)
    return is_same_place(turned, transform, height=height, width=width, tolerance=_EXACT)


def _listed(words: Any) -> str:
    return "{" + ", ".join(words) + "}"


def _number(value: float) -> str:
    return repr(float(value))
