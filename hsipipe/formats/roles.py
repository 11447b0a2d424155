"""Recognise which axis of a labelled array is band, y and x, by names and by the attributes of coordinates."""

import re
from collections.abc import Mapping
from typing import Any

import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import DIMS
from hsipipe.formats.wavelengths import may_be_wavelengths

_ALIASES = {
    "band": (
        "band", "bnd", "msi_band", "wavelength", "wavelength_nm", "wl", "wvl", "wave", "lambda", "lam",
        "spectral", "spectral_band", "spectral_channel", "channel", "spectrum",
    ),
    "y": (
        "y", "y_lr", "yc", "row", "line", "lat", "latitude", "northing", "downtrack", "along_track", "alongtrack",
        "scan", "scanline", "scan_line", "projection_y_coordinate",
    ),
    "x": (
        "x", "x_lr", "xc", "col", "column", "sample", "lon", "longitude", "easting", "crosstrack", "across_track",
        "cross_track", "acrosstrack", "pixel", "projection_x_coordinate",
    ),
}  # fmt: skip
# Parts of a name that only say that it is a size or an index: n_bands, nrows, num_lines, band_index, y_dim.
_AFFIXES = re.compile(r"^(n_|num_|nb_|number_of_|n(?=bands?$|rows?$|cols?$|lines?$|samples?$|x$|y$))|_(dim|index|idx)$")
_OPTICAL = re.compile(r"nm|nanomet(er|re)s?|[uµμ]m|micromet(er|re)s?|microns?|angstroms?|å")
_STANDARD = {
    "radiation_wavelength": "band",
    "sensor_band_central_radiation_wavelength": "band",
    "latitude": "y",
    "grid_latitude": "y",
    "projection_y_coordinate": "y",
    "longitude": "x",
    "grid_longitude": "x",
    "projection_x_coordinate": "x",
}


def roles(stored: xr.Variable, variables: Mapping[str, xr.Variable]) -> tuple[str, ...] | None:
    """Return band, y or x for each axis of a variable of rank 3; None if none of them is recognised.

    Args:
        stored: The variable.
        variables: All variables of the file, among them the coordinates of the axes.

    Raises:
        FileFormatError: Some of the axes are recognised, but not all.
    """
    found = [_role(str(dim)) or _role_of_coordinate(dim, variables) for dim in stored.dims]
    if sorted(filter(None, found)) == ["x", "y"]:
        place = found.index("")
        if _has_wavelengths(stored.dims[place], variables):
            found[place] = "band"
    if set(found) == set(DIMS):
        return tuple(found)
    if any(found):
        raise FileFormatError(
            f"the axes {', '.join(map(str, stored.dims))} are not clearly band, y and x; rename them to these names"
        )
    return None


def without_single_axes(stored: xr.Variable) -> xr.Variable:
    """Drop axes of length 1 that are not band, y or x, such as time, until three axes are left.

    A variable that cannot be reduced to rank 3 is returned as it is.
    """
    kept = list(stored.dims)
    for dim in stored.dims:
        if len(kept) > 3 and stored.sizes[dim] == 1 and not _role(str(dim)):
            kept.remove(dim)
    if len(kept) != 3 or stored.ndim == 3:
        return stored
    return stored.isel({dim: 0 for dim in stored.dims if dim not in kept})


def is_spectral(dim: Any, axis: xr.Variable) -> bool:
    """Return True if the coordinate of an axis is in the units of a wavelength and its name is not that of y or x."""
    units = str(axis.attrs.get("units", "")).strip().casefold()
    named = _role(str(dim)) not in ("y", "x")
    return named and axis.dims == (dim,) and axis.dtype.kind in "iuf" and bool(_OPTICAL.fullmatch(units))


def _role(name: str) -> str:
    plain = _AFFIXES.sub("", name.rsplit("/", 1)[-1].lower())
    names = (plain, plain.removesuffix("s"))
    return next((role for role, known in _ALIASES.items() if any(one in known for one in names)), "")


def _role_of_coordinate(dim: Any, variables: Mapping[str, xr.Variable]) -> str:
    """Return the role that the CF attributes of a coordinate give to its axis."""
    for name, array in variables.items():
        if name.rsplit("/", 1)[-1] == dim and array.dims == (dim,):
            axis = str(array.attrs.get("axis", "")).lower()
            return _STANDARD.get(str(array.attrs.get("standard_name", "")), axis if axis in ("x", "y") else "")
    return ""


def _has_wavelengths(dim: Any, variables: Mapping[str, xr.Variable]) -> bool:
    mine = {name: array for name, array in variables.items() if array.dims == (dim,)}
    return any(may_be_wavelengths(name) or is_spectral(dim, array) for name, array in mine.items())
