"""Select a cube among labelled arrays; shared by NetCDF, HDF5 and Zarr."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.axes import clear_band_axis
from hsipipe.formats.band_facts import LISTED_DETECTORS, LISTED_NAMES, attach_facts
from hsipipe.formats.base import DIMS, as_float32, one_packing, pick_variable, remember, with_wavelengths
from hsipipe.formats.cf import decode, is_spent, of_file
from hsipipe.formats.claims import AtOnce
from hsipipe.formats.georeference import GRID, crs_of
from hsipipe.formats.roles import is_spectral, roles, without_single_axes
from hsipipe.formats.wavelengths import find_bad_bands, find_wavelengths, in_nm, may_be_wavelengths

Variables = Mapping[str, xr.Variable]

_POSITIONS = ("lat", "latitude", "lon", "longitude")
_OPTICAL_NM = (100.0, 100_000.0)
# Attributes that describe the storage in the file and do not apply to the cube.
_OF_STORAGE = ("grid_mapping", "coordinates", "MATLAB_class", LISTED_NAMES, LISTED_DETECTORS)


def cube_of(
    variables: Variables, variable: str | None, bands: int | None = None, *, whole: Mapping[Any, Any] | None = None
) -> xr.DataArray:
    """Select the cube among variables: dims (band, y, x), float32, with its wavelengths in nm and its position.

    Values follow the CF conventions: scale and offset are applied; missing values and values outside of the valid
    range are NaN. An axis of length 1 that is not band, y or x is dropped. Attributes of the file, `whole`, become its
    own if they say where the cube comes from.

    Raises:
        FileFormatError: There is no cube or several, or the axes or the unit of the wavelengths are unclear.
    """
    shapes = {name: array.shape for name, array in variables.items()}
    reduced = {name: without_single_axes(array) for name, array in variables.items()}
    name = pick_variable({key: array.shape for key, array in reduced.items()}, variable)
    stored = reduced[name]
    if stored.ndim != 3:
        sides = ", ".join(f"{dim}={size}" for dim, size in stored.sizes.items())
        raise FileFormatError(
            f"variable {name!r} has rank {stored.ndim} ({sides}), expected 3; select one entry of each other axis first"
        )
    if stored.dtype.kind not in "iufb":
        raise FileFormatError(f"variable {name!r} holds {stored.dtype}, expected real numbers")
    found = _find_wavelengths(variables, stored)
    dims = _names(name, stored, variables, counts=[n for n in (bands, None if found is None else len(found[1])) if n])
    cube = xr.DataArray(as_float32(decode(name, stored)), dims=dims, attrs=of_file(whole or {}) | _plain(stored))
    cube = cube.transpose(*DIMS).rename(None)  # the name of the Dask array would be written to files
    cube = _with_position(cube, variables, stored, dict(zip(stored.dims, dims, strict=True)))
    if found is not None and len(found[1]) == cube.sizes["band"]:
        cube = with_wavelengths(cube, found[1])
    source, nm = found or (None, None)
    cube = attach_facts(cube, variables, stored, dim=stored.dims[dims.index("band")], source=source, nm=nm)
    if (bad := find_bad_bands({key: array.data for key, array in variables.items()}, cube.sizes["band"])) is not None:
        cube.attrs["bad_bands"] = bad
    packing = one_packing(stored.attrs.get("scale_factor") or 1, stored.attrs.get("add_offset") or 0)
    kind = stored.encoding.get("dtype", stored.dtype)
    return remember(cube, dtype=kind, variable=name, variables=shapes, packing=packing)


def to_dataset(cube: xr.DataArray) -> tuple[xr.Dataset, str]:
    """Return the dataset to write for a cube, and the name of the cube in it."""
    name = str(cube.name).replace("/", "_") if cube.name else "reflectance"
    if name in cube.coords or name in cube.dims:
        name = f"{name}_values"
    dataset = _with_axes(cube.drop_encoding()).to_dataset(name=name)
    dataset.attrs = of_file(cube.attrs)
    dataset[name].attrs = {key: value for key, value in cube.attrs.items() if key not in dataset.attrs}
    if GRID in cube.coords:
        dataset[name].attrs["grid_mapping"] = GRID  # the link that other programs follow
    return dataset, name


def _with_axes(cube: xr.DataArray) -> xr.DataArray:
    """Mark y and x as the CF conventions want; without a mark GDAL turns the image upside down."""
    if crs_of(cube) is not None:
        cube = cube.rio.write_coordinate_system()
    for dim in ("y", "x"):
        if dim in cube.coords and "axis" not in cube[dim].attrs:
            cube = cube.assign_coords({dim: cube[dim].assign_attrs(axis=dim.upper())})
    return cube


def _names(name: str, stored: xr.Variable, variables: Variables, *, counts: list[int]) -> tuple[str, ...]:
    """Name each axis band, y or x."""
    if (named := roles(stored, variables)) is not None:
        return named
    # The band axis of unnamed axes follows from their lengths and from the values.
    images = [array.shape for array in variables.values() if array.ndim == 2 and array.dtype.kind in "iufb"]
    axis = clear_band_axis(stored.data, counts=counts, images=images)
    if axis is None:
        raise FileFormatError(
            f"the axes of {name!r} ({' x '.join(map(str, stored.shape))}) have no names, and it is unclear which one "
            "holds the bands; give the number of bands, bands=N (--bands N), or store the wavelengths in the file"
        )
    rest = iter(("y", "x"))
    return tuple("band" if place == axis else next(rest) for place in range(3))


def _with_position(
    cube: xr.DataArray, variables: Variables, stored: xr.Variable, renamed: Mapping[Any, str]
) -> xr.DataArray:
    """Attach y, x, two-dimensional latitudes and longitudes, and the grid mapping, as far as the file has them."""
    for old, new in renamed.items():
        axis = _lookup(variables, str(old))
        if new != "band" and axis is not None and axis.dims == (old,) and axis.dtype.kind in "iuf":
            cube = cube.assign_coords({new: (new, np.asarray(decode(str(old), axis)), _plain(axis))})
    plane = tuple(dim for dim in stored.dims if renamed[dim] != "band")
    for name, array in variables.items():
        last = name.rsplit("/", 1)[-1]
        if last.lower() in _POSITIONS and array.dims == plane:
            cube = cube.assign_coords(
                {last: (tuple(renamed[dim] for dim in plane), decode(name, array), _plain(array))}
            )
    mapping = str(stored.attrs.get("grid_mapping") or stored.encoding.get("grid_mapping") or GRID).split(":")[0]
    grid = _lookup(variables, mapping)
    if grid is not None and grid.size == 1:
        cube = cube.assign_coords({GRID: ((), 0, _with_wkt(_plain(grid)))})
    return cube


def _lookup(variables: Variables, name: str) -> xr.Variable | None:
    alike = [array for key, array in variables.items() if key.rsplit("/", 1)[-1] == name]
    return variables.get(name, alike[0] if len(alike) == 1 else None)


def _plain(array: xr.Variable) -> dict[str, Any]:
    return {key: value for key, value in array.attrs.items() if key not in _OF_STORAGE and not is_spent(key)}


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


def _find_wavelengths(variables: Variables, stored: xr.Variable) -> tuple[str, Any] | None:
    """Return the name of the vector of wavelengths and its values in nm."""
    at_once = AtOnce()
    vectors = {
        name: np.asarray(decode(name, array))
        for name, array in variables.items()
        if 1 < array.size == max(array.shape)
        and array.size in stored.shape
        and may_be_wavelengths(name)
        and at_once.take(array.nbytes)
    }
    units = {name: str(variables[name].attrs["units"]) for name in vectors if "units" in variables[name].attrs}
    noted = {
        key: np.asarray(value) for key, value in stored.attrs.items() if may_be_wavelengths(key) and _is_plain(value)
    }
    return (
        find_wavelengths(vectors, stored.shape, units=units)
        or find_wavelengths(noted, stored.shape)
        or _axis_in_nm(variables, stored)
    )


def _is_plain(value: Any) -> bool:
    """Return True for a vector of numbers; attributes of Zarr may be any tree."""
    try:
        return 1 < np.asarray(value).size and np.asarray(value).dtype.kind in "iuf"
    except ValueError:  # a ragged list
        return False


def _axis_in_nm(variables: Variables, stored: xr.Variable) -> tuple[str, Any] | None:
    """Return the coordinate of an axis whose units are those of a wavelength, under any name."""
    for dim in stored.dims:
        axis = _lookup(variables, str(dim))
        if axis is None or not is_spectral(dim, axis):
            continue
        nm = in_nm(decode(str(dim), axis), str(axis.attrs["units"]))
        if _OPTICAL_NM[0] <= np.min(nm, initial=np.inf) and nm.max() <= _OPTICAL_NM[1]:
            return str(dim), nm
    return None
