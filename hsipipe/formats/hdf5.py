"""HDF5, read without following references to other files.

An HDF5 file can refer to any file of the machine by external links, external storage or virtual data sets; all are
refused.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.labelled import cube_of
from hsipipe.formats.lazy import MOST_AT_ONCE, Box, Source, open_lazily

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Attributes that the HDF5 and NetCDF libraries add for themselves.
_BOOKKEEPING = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"}
_NO_VARIABLE = "This is a netCDF dimension but not"


@dataclass(frozen=True)
class _Hdf5Source(Source):
    name: str

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box."""
        with h5py.File(self.path, "r") as file:
            return np.asarray(_checked(file[self.name])[box])


@contextmanager
def open_hdf5(path: Path) -> Iterator[dict[str, h5py.Dataset]]:
    """Open a file and list its numeric data sets by path, ``group/name``.

    Groups are searched, except those such as ``#refs#``, in which MATLAB stores the targets of references.

    Raises:
        FileFormatError: The file links to another file.
    """
    with h5py.File(path, "r") as file:
        yield {name: entry for name, entry in walk(file) if isinstance(entry, h5py.Dataset) and _is_numeric(entry)}


def walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset | h5py.Group]]:
    """Iterate over all groups and data sets below a group, each with its relative path.

    Raises:
        FileFormatError: An entry is a soft or external link.
    """
    # A hard link may point to a group that contains it.
    seen = {h5py.h5o.get_info(group.id).addr}
    waiting = [("", group)]
    while waiting:
        prefix, parent = waiting.pop(0)
        for key in parent:
            name = f"{prefix}{key}"
            link = parent.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise FileFormatError(f"{name!r} is a link to another place; links are refused, store the data itself")
            if key.startswith("#"):
                continue
            entry = parent[key]
            yield name, entry
            address = h5py.h5o.get_info(entry.id).addr
            if isinstance(entry, h5py.Group) and address not in seen:
                seen.add(address)
                waiting.append((f"{name}/", entry))


def read_dataset(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a whole data set.

    Raises:
        FileFormatError: Its values are stored in another file.
    """
    return np.asarray(_checked(dataset)[()])


def lazy_dataset(path: Path, dataset: h5py.Dataset) -> da.Array:
    """Open a data set as a Dask array; the file may be closed afterwards.

    Raises:
        FileFormatError: Its values are stored in another file.
    """
    _checked(dataset)
    return open_lazily(_Hdf5Source(path, dataset.shape, dataset.dtype, dataset.name), stored=dataset.chunks, rows=False)


def read_variables(path: Path) -> dict[str, xr.Variable]:
    """List the numeric data sets as lazy variables, with the names of their axes where the file has them."""
    with open_hdf5(path) as datasets:
        return {name: _variable(path, name, entry) for name, entry in datasets.items() if not _is_bare_axis(entry)}


def attributes(dataset: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Collect the attributes that are text or numbers; arrays of one value become scalars."""
    found: dict[str, Any] = {}
    for name in dataset.attrs:
        try:
            value = np.asarray(dataset.attrs[name])
        except (OSError, TypeError, ValueError):  # a type that h5py does not support
            continue
        if name in _BOOKKEEPING or value.size == 0 or value.dtype.kind not in "iufbSUO":
            continue
        if value.dtype.kind in "SUO":
            if value.size == 1 and isinstance(value.item(), str | bytes):
                found[name] = text(value.item())
        else:
            found[name] = value.item() if value.size == 1 else value
    return found


def text(value: Any) -> str:
    """Decode an HDF5 text attribute, which may be bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _checked(dataset: h5py.Dataset) -> h5py.Dataset:
    if dataset.external or dataset.is_virtual:
        raise FileFormatError(f"{dataset.name!r} stores its values in another file; store the data itself")
    return dataset


def _is_numeric(dataset: h5py.Dataset) -> bool:
    try:
        return dataset.shape is not None and dataset.dtype.kind in "iufb"
    except TypeError:  # a type without an equivalent in NumPy
        return False


def _is_bare_axis(dataset: h5py.Dataset) -> bool:
    return text(dataset.attrs.get("NAME", "")).startswith(_NO_VARIABLE)


def _variable(path: Path, name: str, dataset: h5py.Dataset) -> xr.Variable:
    dims = tuple(_dim_name(name, dataset, axis) for axis in range(dataset.ndim))
    if len(set(dims)) < len(dims):
        dims = tuple(f"{name}_axis{axis}" for axis in range(dataset.ndim))
    # MATLAB is column-major: axes are reversed in its HDF5 files.
    if "MATLAB_class" in dataset.attrs:
        small = dataset.ndim != 3 and math.prod(dataset.shape) <= MOST_AT_ONCE
        values = read_dataset(dataset) if small else lazy_dataset(path, dataset)
        return xr.Variable(dims[::-1], values.T, attributes(dataset))
    small = dataset.ndim < 2 and math.prod(dataset.shape) <= MOST_AT_ONCE
    return xr.Variable(dims, read_dataset(dataset) if small else lazy_dataset(path, dataset), attributes(dataset))


def _dim_name(name: str, dataset: h5py.Dataset, axis: int) -> str:
    scales = dataset.dims[axis]
    if len(scales):
        return str(scales[0].name).rsplit("/", 1)[-1]
    label = str(dataset.dims[axis].label)
    return label or (name if dataset.ndim == 1 and dataset.is_scale else f"{name}_axis{axis}")


class Hdf5(CubeFormat):
    """HDF5 with groups of any names."""

    title = "HDF5"
    suffixes = (".h5", ".hdf5", ".he5")

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a file lazily."""
        return cube_of(read_variables(path), variable, bands)


FORMAT = Hdf5()
