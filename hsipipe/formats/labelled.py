"""Select a cube among labelled arrays; shared by NetCDF, HDF5 and Zarr."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.axes import band_axis
from hsipipe.formats.base import DIMS, as_float32, pick_variable, remember, with_wavelengths
from hsipipe.formats.georeference import GRID
from hsipipe.formats.wavelengths import find_bad_bands, find_wavelengths

Variables = Mapping[str, xr.Variable]

_ALIASES = {
    "band": (
        "band",
        "bands",
        "msi_band",
        "wavelength",
        "wavelengths",
        "wavelength_nm",
        "lambda",
        "spectral",
        "channel",
        "channels",
    ),
    "y": ("y", "y_lr", "row", "rows", "line", "lines", "lat", "latitude", "northing", "downtrack", "along_track"),
    "x": (
        "x",
        "x_lr",
        "col",
        "cols",
        "column",
        "columns",
        "sample",
        "samples",
        "lon",
        "longitude",
        "easting",
        "crosstrack",
        "across_track",
    ),
}
_POSITIONS = ("lat", "latitude", "lon", "longitude")
# Attributes that mark pixels without data, in addition to the two of the CF conventions, in lower case.
_NO_DATA = ("data_ignore_value", "nodata", "no_data_value", "nodata_value", "fillvalue")
_DECODED = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
# Attributes that describe the storage in the file and do not apply to the cube.
_SPENT = {*_DECODED, "grid_mapping", "coordinates", "MATLAB_class"}


def cube_of(variables: Variables, variable: str | None, bands: int | None = None) -> xr.DataArray:
    """Select the cube among variables: dims (band, y, x), float32, with its wavelengths in nm and its position.

    Values follow the CF conventions: scale and offset are applied, pixels without data are NaN.

    Raises:
        FileFormatError: There is no cube or several, or the axes or the unit of the wavelengths are unclear.
    """
    shapes = {name: array.shape for name, array in variables.items()}
    name = pick_variable(shapes, variable)
    stored = variables[name]
    if stored.ndim != 3:
        raise FileFormatError(f"variable {name!r} has rank {stored.ndim}, expected 3")
    if stored.dtype.kind not in "iufb":
        raise FileFormatError(f"variable {name!r} holds {stored.dtype}, expected real numbers")
    found = _find_wavelengths(variables, stored)
    counts = [count for count in (bands, None if found is None else len(found)) if count]
    dims = _names(stored, variables, counts=counts)
    values = _decode(name, stored)
    cube = xr.DataArray(as_float32(values), dims=dims, attrs={k: v for k, v in stored.attrs.items() if k not in _SPENT})
    cube = cube.transpose(*DIMS).rename(None)  # the name of the Dask array would be written to files
    cube = _with_position(cube, variables, stored, dict(zip(stored.dims, dims, strict=True)))
    if found is not None and len(found) == cube.sizes["band"]:
        cube = with_wavelengths(cube, found)
    if (bad := find_bad_bands({key: array.data for key, array in variables.items()}, cube.sizes["band"])) is not None:
        cube.attrs["bad_bands"] = bad
    return remember(cube, dtype=stored.encoding.get("dtype", stored.dtype), variable=name, variables=shapes)


def to_dataset(cube: xr.DataArray) -> tuple[xr.Dataset, str]:
    """Return the dataset to write for a cube, and the name of the cube in it."""
    name = str(cube.name) if cube.name else "reflectance"
    if name in cube.coords:
        name = f"{name}_values"
    dataset = cube.drop_encoding().to_dataset(name=name)
    if GRID in cube.coords:
        dataset[name].attrs["grid_mapping"] = GRID  # the link that other programs follow
    return dataset, name


def _names(stored: xr.Variable, variables: Variables, *, counts: list[int]) -> tuple[str, ...]:
    """Name each axis band, y or x."""
    targets = [next((key for key, names in _ALIASES.items() if str(dim).lower() in names), "") for dim in stored.dims]
    if set(targets) == set(DIMS):
        return tuple(targets)
    if any(targets):
        raise FileFormatError(
            f"the axes {', '.join(map(str, stored.dims))} are not clearly band, y and x; rename them to these names"
        )
    # The band axis of unnamed axes follows from their lengths.
    images = [array.shape for array in variables.values() if array.ndim == 2]
    axis = band_axis(stored.data, counts=counts, images=images)
    rest = iter(("y", "x"))
    return tuple("band" if place == axis else next(rest) for place in range(3))


def _decode(name: str, stored: xr.Variable) -> Any:
    """Decode values by the CF conventions; pixels that another attribute marks as no data become NaN."""
    attrs = {key: value for key, value in stored.attrs.items() if key in _DECODED}
    attrs = {key: value for key, value in attrs.items() if np.asarray(value).dtype.kind in "iufbU"}
    plain = xr.Variable(stored.dims, stored.data, attrs)
    values: Any = xr.conventions.decode_cf_variable(name, plain, decode_times=False, decode_timedelta=False).data
    for key, value in stored.attrs.items():
        if key.lower() in _NO_DATA and np.size(value) == 1:
            ignored = float(np.asarray(value).item())
            values = np.where(stored.data != ignored, as_float32(values), np.float32(np.nan))
    return values


def _with_position(
    cube: xr.DataArray, variables: Variables, stored: xr.Variable, renamed: Mapping[Any, str]
) -> xr.DataArray:
    """Attach y, x, two-dimensional latitudes and longitudes, and the grid mapping, as far as the file has them."""
    for old, new in renamed.items():
        axis = _lookup(variables, str(old))
        if new != "band" and axis is not None and axis.dims == (old,) and axis.dtype.kind in "iuf":
            cube = cube.assign_coords({new: (new, np.asarray(axis.data), _plain(axis))})
    plane = tuple(dim for dim in stored.dims if renamed[dim] != "band")
    for name, array in variables.items():
        last = name.rsplit("/", 1)[-1]
        if last.lower() in _POSITIONS and array.dims == plane:
            cube = cube.assign_coords({last: (tuple(renamed[dim] for dim in plane), array.data, _plain(array))})
    mapping = str(stored.attrs.get("grid_mapping") or stored.encoding.get("grid_mapping") or GRID).split(":")[0]
    grid = _lookup(variables, mapping)
    if grid is not None and grid.size == 1:
        cube = cube.assign_coords({GRID: ((), 0, _with_wkt(_plain(grid)))})
    return cube


def _lookup(variables: Variables, name: str) -> xr.Variable | None:
    alike = [array for key, array in variables.items() if key.rsplit("/", 1)[-1] == name]
    return variables.get(name, alike[0] if len(alike) == 1 else None)


def _plain(array: xr.Variable) -> dict[str, Any]:
    return {key: value for key, value in array.attrs.items() if key not in _SPENT}


def _with_wkt(attrs: dict[str, Any]) -> dict[str, Any]:
    """Add ``crs_wkt``, from which rioxarray reads the CRS, to the attributes of a grid mapping."""
    if "crs_wkt" in attrs or "spatial_ref" in attrs or "grid_mapping_name" not in attrs:
        return attrs
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return attrs | {"crs_wkt": CRS.from_cf(attrs).to_wkt()}
    except (CRSError, KeyError):
        return attrs


def _find_wavelengths(variables: Variables, stored: xr.Variable) -> Any:
    vectors = {
        name: np.asarray(array.data)
        for name, array in variables.items()
        if 1 < array.size == max(array.shape) and array.size in stored.shape
    }
    units = {name: str(variables[name].attrs["units"]) for name in vectors if "units" in variables[name].attrs}
    noted = {key: np.asarray(value) for key, value in stored.attrs.items() if 1 < np.size(value) in stored.shape}
    found = find_wavelengths(vectors, stored.shape, units=units) or find_wavelengths(noted, stored.shape)
    return None if found is None else found[1]
