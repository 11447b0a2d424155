"""Keep facts about the bands of a cube: names, widths, bad bands, and further coordinates of the bands.

``band_name`` holds the names, ``fwhm_nm`` the full widths at half maximum in nm, ``detector`` the detectors and
``good_band`` which bands are usable, all coordinates of band. The attribute ``bad_bands`` lists the bad bands, counted
from 1.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import with_widths
from hsipipe.formats.cf import decode
from hsipipe.formats.wavelengths import in_nm

BAND_NAME = "band_name"
"""Coordinate with the names of the bands."""
FWHM_NM = "fwhm_nm"
"""Coordinate with the full widths at half maximum in nm."""
BAD_BANDS = "bad_bands"
"""Attribute with the numbers of the bad bands, counted from 1."""
GOOD_BAND = "good_band"
"""Coordinate that is False for a bad band."""
DETECTOR = "detector"
"""Coordinate with the names of the detectors that measured the bands."""
LISTED_NAMES = "band_names"
"""Attribute of a Zarr array with the names of the bands: the decoder of text arrays trusts lengths in the file."""
LISTED_DETECTORS = "band_detectors"
"""The same with their detectors."""
_NAMES = ("band_name", "band_names", "bandname", "bandnames")
_WIDTHS = ("fwhm", "fwhm_nm", "bandwidth", "bandwidths")
_GOOD = ("good_band", "good_bands", "good_wavelength", "good_wavelengths", "bbl")
_MOST_BYTES = 8 << 20
"""Size of the largest vector that is read: a small file can claim one that fills the memory."""
_OWN = ("band", "wavelength_nm", BAND_NAME, FWHM_NM, "y", "x", "spatial_ref")


def may_be_names(name: str) -> bool:
    """Return True if a variable of this name (or path) may hold the names of the bands or of their detectors."""
    return name.rsplit("/", 1)[-1].lower() in (*_NAMES, DETECTOR)


def with_names(cube: xr.DataArray, names: Sequence[str | None] | None) -> xr.DataArray:
    """Attach the names of the bands, (C,), unless there are none; a band without a name has an empty one."""
    texts = [name or "" for name in names or ()]
    if len(texts) != cube.sizes["band"] or not any(texts):
        return cube
    return cube.assign_coords({BAND_NAME: ("band", np.array(texts, dtype=str), {"long_name": "name of the band"})})


def band_names(cube: xr.DataArray, coordinate: str = BAND_NAME) -> list[str] | None:
    """Return the names of the bands or another text about each, or None."""
    if coordinate not in cube.coords or cube[coordinate].dims != ("band",):
        return None
    return [str(name) for name in cube[coordinate].values]


def with_detectors(cube: xr.DataArray, detectors: Sequence[str]) -> xr.DataArray:
    """Attach the names of the detectors, (C,), if there is one for each band."""
    if len(detectors) != cube.sizes["band"]:
        return cube
    return cube.assign_coords({DETECTOR: ("band", np.array(detectors, dtype=str), {"long_name": "detector"})})


def with_good_bands(cube: xr.DataArray, good: NDArray[np.bool_] | None = None) -> xr.DataArray:
    """Attach ``good_band`` and the attribute ``bad_bands``.

    Args:
        cube: Cube (band, y, x).
        good: (C,); None: from the attribute. A cube without both is returned as it is.
    """
    if good is None:
        if BAD_BANDS not in cube.attrs or GOOD_BAND in cube.coords:
            return cube
        good = np.ones(cube.sizes["band"], dtype=bool)
        listed = np.atleast_1d(np.asarray(cube.attrs[BAD_BANDS]))
        if listed.size and (listed.dtype.kind not in "iu" or listed.min() < 1 or listed.max() > len(good)):
            return cube
        good[listed.astype(int) - 1] = False
    bad = (np.flatnonzero(~good) + 1).tolist()
    made = cube.assign_coords({GOOD_BAND: ("band", good, {"long_name": "the band is usable"})})
    return made.assign_attrs({BAD_BANDS: bad})


def attach_facts(
    cube: xr.DataArray,
    variables: Mapping[str, xr.Variable],
    stored: xr.Variable,
    *,
    dim: Any,
    source: str | None,
    nm: NDArray[np.float64] | None,
) -> xr.DataArray:
    """Attach names, widths, bad bands and the listed coordinates of the bands from the other variables of a file.

    Args:
        cube: Cube (band, y, x).
        variables: All variables of the file.
        stored: The variable of the cube.
        dim: Name of its band axis in the file.
        source: Name of the variable of the wavelengths, if found.
        nm: Wavelengths in nm.
    """
    count = cube.sizes["band"]
    cube = _with_listed(cube, stored)
    listed = f"{stored.attrs.get('coordinates', '')} {stored.encoding.get('coordinates', '')}".split()
    for name, array in variables.items():
        last = name.rsplit("/", 1)[-1]
        if array.shape[:1] != (count,) or array.ndim > 2 or name == source or array.nbytes > _MOST_BYTES:
            continue
        if array.dtype.kind in "SU":
            if may_be_names(name):
                cube = _with_texts(cube, last, array)
        elif array.ndim == 1 and array.dtype.kind in "iufb":
            if last.lower() in _WIDTHS and nm is not None and len(nm) == count:
                cube = with_widths(cube, _widths(name, array, variables.get(source or ""), nm))
            elif last.lower() in _GOOD:
                bad = np.flatnonzero(np.asarray(decode(name, array)) == 0) + 1
                cube = cube.assign_attrs({BAD_BANDS: bad.tolist()})
            elif last in listed and array.dims == (dim,) and last not in _OWN:
                cube = cube.assign_coords({last: ("band", np.asarray(decode(name, array)), dict(array.attrs))})
    return cube


def _with_listed(cube: xr.DataArray, stored: xr.Variable) -> xr.DataArray:
    """Attach the texts that attributes of the cube list."""
    for key, attach in ((LISTED_NAMES, with_names), (LISTED_DETECTORS, with_detectors)):
        texts = stored.attrs.get(key)
        if isinstance(texts, list | tuple | np.ndarray):
            cube = attach(cube, [str(text) for text in texts])
    return cube


def _with_texts(cube: xr.DataArray, name: str, array: xr.Variable) -> xr.DataArray:
    return with_detectors(cube, _texts(array)) if name.lower() == DETECTOR else with_names(cube, _texts(array))


def _widths(name: str, array: xr.Variable, centres: xr.Variable | None, nm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return widths in nm; without units they are in those of the centres."""
    values = np.asarray(decode(name, array), dtype=np.float64)
    units = next((str(value) for key, value in array.attrs.items() if key.lower() == "units"), "")
    if re.sub(r"\W", "", units) or name.lower().endswith("_nm"):
        return in_nm(values, units or "nm", name=name)
    if centres is None:
        return values
    stored = np.asarray(centres.data, dtype=np.float64).ravel()
    return values * np.divide(nm, stored, out=np.ones_like(nm), where=stored != 0)


def _texts(array: xr.Variable) -> list[str]:
    """Return a vector of text; classic NetCDF stores characters (C, length)."""
    values = np.asarray(array.data)
    if values.dtype.kind == "S" and values.ndim == 2:
        values = np.ascontiguousarray(values).view(f"S{values.shape[1] * values.dtype.itemsize}").ravel()
    if values.ndim != 1:
        raise FileFormatError(f"the names of the bands have the shape {values.shape}, expected one for each band")
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.tolist()]
