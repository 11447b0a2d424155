"""Write a data set as NetCDF-4: HDF5 with dimension scales, through h5py.

Format: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html, "NetCDF-4 Format".
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.storage.stores import rows_per_chunk

_MOST_CHUNK_BYTES = 1 << 30
"""Largest chunk in bytes; HDF5 allows less than 4 GiB. Larger rows are stored without chunks."""
_CHARACTERS = "string"


def write_netcdf4(dataset: xr.Dataset, path: Path, *, rows: str = "y") -> None:
    """Write a data set with its coordinates and attributes; lazy values are written strip by strip.

    Chunks have a checksum and are not compressed. Attributes that the format cannot hold become text; those with the
    value None are skipped.

    Args:
        dataset: Data set.
        path: New file.
        rows: Dimension along which arrays of rank 3 are cut into strips.
    """
    encoded, attrs = xr.conventions.encode_dataset_coordinates(dataset)
    variables = {str(name): _encoded(str(name), array, name in dataset.coords) for name, array in encoded.items()}
    sizes = {dim: size for array in variables.values() for dim, size in array.sizes.items()}
    with h5py.File(path, "w", libver=("v108", "v110"), track_order=True) as file:
        _set_attributes(file, {"Conventions": "CF-1.8"} | {str(key): value for key, value in attrs.items()})
        written = {name: _create(file, name, array) for name, array in variables.items()}
        _add_dimensions(file, {str(dim): size for dim, size in sizes.items()}, variables)
        for name, array in variables.items():
            _attach_dimensions(file, written[name], array)
            _fill(written[name], array, rows)


def as_attribute(value: Any) -> str | NDArray[Any]:
    """Convert the value of an attribute to text or to a scalar or vector of numbers."""
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return str(value)
    if array.dtype == bool:
        return array.astype(np.int8)
    if array.ndim > 1 or array.size == 0 or array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _encoded(name: str, array: xr.Variable, is_coordinate: bool) -> xr.Variable:
    """Encode dates, booleans, text and missing values as the CF conventions want."""
    if array.dtype.kind in "USOT":
        return _as_characters(name, array)
    plain = xr.conventions.encode_cf_variable(array.copy(deep=False), name=name)
    if is_coordinate:  # it has no missing values
        plain.attrs.pop("_FillValue", None)
    return plain


def _as_characters(name: str, array: xr.Variable) -> xr.Variable:
    words = np.array([str(word).encode() for word in array.values.ravel().tolist()]).reshape(array.shape)
    length = max(words.dtype.itemsize, 1)
    characters = np.frombuffer(words.astype(f"S{length}").tobytes(), dtype="S1").reshape((*array.shape, length))
    return xr.Variable((*array.dims, f"{_CHARACTERS}{length}"), characters, {**array.attrs, "_Encoding": "utf-8"})


def _create(file: h5py.File, name: str, array: xr.Variable) -> h5py.Dataset:
    options: dict[str, Any] = {}
    if array.ndim == 3 and array.dtype.kind != "S":
        bands, height, width = array.shape
        chunk = (bands, min(rows_per_chunk(array.shape), height), width)
        if np.prod(chunk, dtype=np.float64) * array.dtype.itemsize <= _MOST_CHUNK_BYTES:
            options = {"chunks": chunk, "fletcher32": True}
    dataset = file.create_dataset(name, shape=array.shape, dtype=array.dtype, track_times=False, **options)
    _set_attributes(dataset, {str(key): value for key, value in array.attrs.items()})
    return dataset


def _set_attributes(target: h5py.File | h5py.Dataset, attrs: dict[str, Any]) -> None:
    for key, value in attrs.items():
        if value is None:
            continue
        plain = as_attribute(value)
        if isinstance(plain, str):
            words = plain.replace("\0", "").encode()
            target.attrs.create(key, words or b"\0", dtype=h5py.string_dtype("utf-8", max(len(words), 1)))
        else:
            # Missing values have the type of the variable; NetCDF stores single numbers as vectors of one.
            kind = target.dtype if key == "_FillValue" and isinstance(target, h5py.Dataset) else plain.dtype
            target.attrs.create(key, np.atleast_1d(plain).astype(kind))


def _add_dimensions(file: h5py.File, sizes: dict[str, int], variables: dict[str, xr.Variable]) -> None:
    for number, (dim, size) in enumerate(sizes.items()):
        if dim in variables:
            file[dim].make_scale(dim)
        else:
            scale = file.create_dataset(dim, shape=(size,), dtype=">f4", track_times=False)
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:>10}")
        file[dim].attrs["_Netcdf4Dimid"] = np.int32(number)


def _attach_dimensions(file: h5py.File, dataset: h5py.Dataset, array: xr.Variable) -> None:
    if not dataset.is_scale:
        for axis, dim in enumerate(array.dims):
            dataset.dims[axis].attach_scale(file[str(dim)])


def _fill(dataset: h5py.Dataset, array: xr.Variable, rows: str) -> None:
    if array.ndim != 3 or rows not in array.dims:
        dataset[...] = np.asarray(array.data)
        return
    axis = array.dims.index(rows)
    step = rows_per_chunk(array.shape) if array.chunks is None else max(array.chunks[axis])
    for start in range(0, array.shape[axis], step):
        box = tuple(slice(start, start + step) if place == axis else slice(None) for place in range(3))
        dataset[box] = np.asarray(array.data[box])
