"""HDF5 files from outside, opened with care.

An HDF5 file may point at any other file of the machine, by external links, external storage or virtual
data sets. Nothing here follows such a pointer.
"""

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
# What the library itself notes at data sets and axes.
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
    """Open a file and give its data sets of numbers by their path, ``group/name``.

    Groups are searched too, except ``#refs#`` and its like, in which MATLAB keeps what others point at.

    Raises:
        FileFormatError: The file links to others.
    """
    with h5py.File(path, "r") as file:
        yield {name: entry for name, entry in walk(file) if isinstance(entry, h5py.Dataset) and _is_numeric(entry)}


def walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset | h5py.Group]]:
    """Every group and data set below a group, with its path from there.

    Raises:
        FileFormatError: There is a link.
    """
    # A hard link may lead back to a group that contains it.
    seen = {h5py.h5o.get_info(group.id).addr}
    waiting = [("", group)]
    while waiting:
        prefix, parent = waiting.pop(0)
        for key in parent:
            name = f"{prefix}{key}"
            link = parent.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise FileFormatError(
                    f"{name!r} is a link to another place; such files are refused, store the data itself"
                )
            if key.startswith("#"):
                continue
            entry = parent[key]
            yield name, entry
            address = h5py.h5o.get_info(entry.id).addr
            if isinstance(entry, h5py.Group) and address not in seen:
                seen.add(address)
                waiting.append((f"{name}/", entry))


def read_dataset(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read all of a data set.

    Raises:
        FileFormatError: Its bytes lie in another file.
    """
    return np.asarray(_checked(dataset)[()])


def lazy_dataset(path: Path, dataset: h5py.Dataset) -> da.Array:
    """A Dask array over a data set; the file may be closed afterwards.

    Raises:
        FileFormatError: Its bytes lie in another file.
    """
    _checked(dataset)
    return open_lazily(_Hdf5Source(path, dataset.shape, dataset.dtype, dataset.name), stored=dataset.chunks, rows=False)


def read(path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
    """Read the cube of a file, whatever its groups are called."""
    return cube_of(read_variables(path), variable, bands)


def read_variables(path: Path) -> dict[str, xr.Variable]:
    """Every data set of numbers as a lazy variable, with the names of its axes where the file has them."""
    with open_hdf5(path) as datasets:
        return {name: _variable(path, name, entry) for name, entry in datasets.items() if not _is_bare_axis(entry)}


def attributes(dataset: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Attributes that are text or numbers; scalars as such."""
    found: dict[str, Any] = {}
    for name in dataset.attrs:
        try:
            value = np.asarray(dataset.attrs[name])
        except (OSError, TypeError, ValueError):  # of a type that h5py does not know
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
    """An HDF5 text attribute, which may come as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _checked(dataset: h5py.Dataset) -> h5py.Dataset:
    if dataset.external or dataset.is_virtual:
        raise FileFormatError(f"{dataset.name!r} keeps its values in another file; store the data itself")
    return dataset


def _is_numeric(dataset: h5py.Dataset) -> bool:
    try:
        return dataset.shape is not None and dataset.dtype.kind in "iufb"
    except TypeError:  # a type that NumPy has not
        return False


def _is_bare_axis(dataset: h5py.Dataset) -> bool:
    return text(dataset.attrs.get("NAME", "")).startswith(_NO_VARIABLE)


def _variable(path: Path, name: str, dataset: h5py.Dataset) -> xr.Variable:
    dims = tuple(_dim_name(name, dataset, axis) for axis in range(dataset.ndim))
    if len(set(dims)) < len(dims):
        dims = tuple(f"{name}_axis{axis}" for axis in range(dataset.ndim))
    # MATLAB is column-major: its HDF5 files show the axes reversed.
    if "MATLAB_class" in dataset.attrs:
        small = dataset.ndim != 3 and dataset.size <= MOST_AT_ONCE
        values = read_dataset(dataset) if small else lazy_dataset(path, dataset)
        return xr.Variable(dims[::-1], values.T, attributes(dataset))
    small = dataset.ndim < 2 and dataset.size <= MOST_AT_ONCE
    return xr.Variable(dims, read_dataset(dataset) if small else lazy_dataset(path, dataset), attributes(dataset))


def _dim_name(name: str, dataset: h5py.Dataset, axis: int) -> str:
    scales = dataset.dims[axis]
    if len(scales):
        return str(scales[0].name).rsplit("/", 1)[-1]
    label = str(dataset.dims[axis].label)
    return label or (name if dataset.ndim == 1 and dataset.is_scale else f"{name}_axis{axis}")


FORMAT = CubeFormat(title="HDF5", read=read)
