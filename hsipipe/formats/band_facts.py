"""Keep facts about the bands of a cube: names, widths, bad bands, and further coordinates of the bands.

``band_name`` holds the names, ``fwhm_nm`` the full widths at half maximum in nm, both coordinates of band. The
attribute ``bad_bands`` lists the bad bands, counted from 1.
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
LISTED_NAMES = "band_names"
"""Attribute of a Zarr array with the names of the bands: the decoder of text arrays trusts lengths in the file."""
_NAMES = ("band_name", "band_names", "bandname", "bandnames")
_WIDTHS = ("fwhm", "fwhm_nm", "bandwidth", "bandwidths")
_GOOD = ("good_band", "good_bands", "good_wavelength", "good_wavelengths", "bbl")
_MOST_BYTES = 8 << 20
"""Size of the largest vector that is read: a small file can claim one that fills the memory."""
_OWN = ("band", "wavelength_nm", BAND_NAME, FWHM_NM, "y", "x", "spatial_ref")


def may_be_names(name: str) -> bool:
    """Return True if a variable of this name (or path) may hold the names of the bands."""
    return name.rsplit("/", 1)[-1].lower() in _NAMES


def with_names(cube: xr.DataArray, names: Sequence[str | None] | None) -> xr.DataArray:
    """Attach the names of the bands, (C,), unless there are none; a band without a name has an empty one."""
    texts = [name or "" for name in names or ()]
    if len(texts) != cube.sizes["band"] or not any(texts):
        return cube
    return cube.assign_coords({BAND_NAME: ("band", np.array(texts, dtype=str), {"long_name": "name of the band"})})


def band_names(cube: xr.DataArray) -> list[str] | None:
    """Return the names of the bands, or None."""
    if BAND_NAME not in cube.coords or cube[BAND_NAME].dims != ("band",):
        return None
    return [str(name) for name in cube[BAND_NAME].values]


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
    if isinstance(names := stored.attrs.get(LISTED_NAMES), list | tuple | np.ndarray):
        cube = with_names(cube, [str(name) for name in names])
    listed = f"{stored.attrs.get('coordinates', '')} {stored.encoding.get('coordinates', '')}".split()
    for name, array in variables.items():
        last = name.rsplit("/", 1)[-1]
        if array.shape[:1] != (count,) or array.ndim > 2 or name == source or array.nbytes > _MOST_BYTES:
            continue
        if array.dtype.kind in "SU":
            if may_be_names(name):
                cube = with_names(cube, _texts(array))
        elif array.ndim == 1 and array.dtype.kind in "iufb":
            if last.lower() in _WIDTHS and nm is not None and len(nm) == count:
                cube = with_widths(cube, _widths(name, array, variables.get(source or ""), nm))
            elif last.lower() in _GOOD:
                bad = np.flatnonzero(np.asarray(decode(name, array)) == 0) + 1
                cube = cube.assign_attrs({BAD_BANDS: bad.tolist()})
            elif last in listed and array.dims == (dim,) and last not in _OWN:
                cube = cube.assign_coords({last: ("band", np.asarray(decode(name, array)), dict(array.attrs))})
    return cube


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
