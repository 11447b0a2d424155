"""HDF5, read without following references to other files.

An HDF5 file can refer to any file of the machine by external links, external storage or virtual data sets; all are
refused.
"""

import math
import posixpath
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
from hsipipe.formats.band_facts import may_be_names
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.claims import AtOnce, check_claim
from hsipipe.formats.hdf5_chunks import check_chunks, check_values, read_box
from hsipipe.formats.hdf5_structure import check_chunk_trees, check_structure
from hsipipe.formats.labelled import cube_of
from hsipipe.formats.lazy import Box, Source, open_lazily

# Attributes that the HDF5 and NetCDF libraries add for themselves.
_BOOKKEEPING = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"}
_MOST_WORDS = 4096
_MOST_TEXT_BYTES = 1 << 20
Address = tuple[int, int]
_NO_VARIABLE = "This is a netCDF dimension but not"


@dataclass(frozen=True)
class _Hdf5Source(Source):
    name: str

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box."""
        with h5py.File(self.path, "r") as file:
            return read_box(_checked(file[self.name]), box)


@dataclass(frozen=True)
class _Known:
    """Facts of a file that is read: its path, the memory left, and the names of its data sets by their address."""

    path: Path
    at_once: AtOnce
    names: dict[Address, str]


def open_file(path: Path) -> h5py.File:
    """Open a file whose structure is checked.

    Raises:
        FileFormatError: It leads back to itself, or claims huge texts.
    """
    check_structure(path)
    return h5py.File(path, "r")


@contextmanager
def open_hdf5(path: Path) -> Iterator[dict[str, h5py.Dataset]]:
    """Open a file and list its numeric data sets by path, ``group/name``.

    Groups are searched, except those such as ``#refs#``, in which MATLAB stores the targets of references.

    Raises:
        FileFormatError: The file links to another file.
    """
    with open_file(path) as file:
        yield {name: entry for name, entry in walk(file) if isinstance(entry, h5py.Dataset) and _is_numeric(entry)}


def walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset | h5py.Group]]:
    """Iterate over all groups and data sets below a group, each with its relative path.

    Soft links are skipped: their targets in the file are listed under their own names.

    Raises:
        FileFormatError: An entry is an external link.
    """
    # A hard link may point to a group that contains it.
    seen = {_address(group)}
    waiting = [("", group)]
    while waiting:
        prefix, parent = waiting.pop(0)
        for key in parent:
            name = f"{prefix}{key}"
            link = parent.get(key, getlink=True)
            if isinstance(link, h5py.SoftLink):
                continue
            if not isinstance(link, h5py.HardLink):
                raise FileFormatError(f"{name!r} is a link to another place; links are refused, store the data itself")
            if key.startswith("#"):
                continue
            entry = parent[key]
            yield name, entry
            address = _address(entry)
            if isinstance(entry, h5py.Group) and address not in seen:
                seen.add(address)
                waiting.append((f"{name}/", entry))


def _address(entry: h5py.Dataset | h5py.Group) -> Address:
    # h5o.get_info walks the tree of the chunks, too.
    found: Address = h5py.h5g.get_objinfo(entry.id).objno
    return found


def read_dataset(dataset: h5py.Dataset) -> NDArray[Any]:
    """Read a whole data set.

    Raises:
        FileFormatError: Its values are stored in another file.
    """
    return read_box(_checked(dataset), _whole(dataset))


def lazy_dataset(path: Path, dataset: h5py.Dataset) -> da.Array:
    """Open a data set as a Dask array; the file may be closed afterwards.

    Raises:
        FileFormatError: Its values are stored in another file.
    """
    _checked(dataset)
    return open_lazily(_Hdf5Source(path, dataset.shape, dataset.dtype, dataset.name), stored=dataset.chunks, rows=False)


def open_labelled(path: Path, variable: str | None, bands: int | None) -> xr.DataArray:
    """Open the cube of a file lazily; `variable` may be a soft link inside the file."""
    with open_file(path) as file:
        links = _soft_links(file) if variable is not None else {}
        variables, whole = _variables(path, file), attributes(file, AtOnce())
    for _ in range(len(links)):
        variable = links.get(str(variable), variable)
    return cube_of(variables, variable, bands, whole=whole)


def _variables(path: Path, file: h5py.File) -> dict[str, xr.Variable]:
    """List numbers and short text as variables, with the names of their axes where the file has them."""
    entries = [(name, _address(entry), entry) for name, entry in walk(file) if isinstance(entry, h5py.Dataset)]
    known = _Known(path, AtOnce(), {address: name.rsplit("/", 1)[-1] for name, address, _ in reversed(entries)})
    made: dict[Address, xr.Variable | None] = {}
    for name, address, entry in entries:
        if address not in made:  # a data set may have many names
            made[address] = _read(name, entry, known)
    return {name: variable for name, address, _ in entries if (variable := made[address]) is not None}


def _read(name: str, entry: h5py.Dataset, known: _Known) -> xr.Variable | None:
    if _is_numeric(entry) and not _is_bare_axis(entry):
        return _variable(name, entry, known)
    if entry.shape == () and entry.dtype.kind == "S":  # many grid mappings are a character with attributes
        return xr.Variable((), 0, attributes(entry, known.at_once))
    if may_be_names(name) and (words := text_values(entry)) is not None:
        return xr.Variable(_dims(name, entry, known), words, attributes(entry, known.at_once))
    return None


def _soft_links(file: h5py.File) -> dict[str, str]:
    """Return the soft links of a file and their targets, both as paths from the root."""
    groups = [("", file), *((f"{name}/", entry) for name, entry in walk(file) if isinstance(entry, h5py.Group))]
    found = {}
    for prefix, group in groups:
        for key in group:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.SoftLink):
                found[f"{prefix}{key}"] = posixpath.normpath(posixpath.join("/", prefix, link.path)).lstrip("/")
    return found


def text_values(dataset: h5py.Dataset) -> NDArray[Any] | None:
    """Read short text; None for anything else."""
    if dataset.shape is None or dataset.ndim not in (1, 2) or not 0 < dataset.size <= _MOST_WORDS:
        return None
    if dataset.dtype.kind == "S" and dataset.size * dataset.dtype.itemsize <= _MOST_TEXT_BYTES:
        return read_dataset(dataset)
    if dataset.ndim != 1 or h5py.check_string_dtype(dataset.dtype) is None:
        return None
    if _bytes_at_once(dataset) > _MOST_TEXT_BYTES:
        return None
    check_values(_checked(dataset), _whole(dataset))
    words, size = [], 0
    for place in range(dataset.size):  # one by one: all entries may refer to the same long text
        words.append(text(dataset[place]))
        size += len(words[-1])
        if size > _MOST_TEXT_BYTES:
            return None
    return np.array(words, dtype=str)


def attributes(entry: h5py.Dataset | h5py.Group, at_once: AtOnce) -> dict[str, Any]:
    """Collect the attributes that are text or numbers; arrays of one value become scalars."""
    found: dict[str, Any] = {}
    for name in entry.attrs:
        if name in _BOOKKEEPING or not _is_small(entry.attrs.get_id(name), at_once):
            continue
        try:
            value = np.asarray(entry.attrs[name])
        except (OSError, TypeError, ValueError):  # a type that h5py does not support
            continue
        if value.size == 0 or value.dtype.kind not in "iufbSUO":
            continue
        if value.dtype.kind in "SUO":
            if value.size == 1 and isinstance(value.item(), str | bytes) and at_once.take(len(value.item())):
                found[name] = text(value.item())
        else:
            found[name] = value.item() if value.size == 1 else value
    return found


def _is_small(attribute: h5py.h5a.AttrID, at_once: AtOnce) -> bool:
    """Return True if an attribute may be read; not several texts of variable length: all may be the same long one."""
    return (attribute.dtype.kind != "O" or math.prod(attribute.shape) <= 1) and at_once.take(
        attribute.get_storage_size()
    )


def text(value: Any) -> str:
    """Decode an HDF5 text attribute, which may be bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _checked(dataset: h5py.Dataset) -> h5py.Dataset:
    if dataset.external or dataset.is_virtual:
        raise FileFormatError(f"{dataset.name!r} stores its values in another file; store the data itself")
    if dataset.chunks is not None:  # HDF5 decodes a chunk whole
        path = Path(dataset.file.filename)
        check_claim(f"a chunk of {dataset.name!r}", _bytes_of(dataset.chunks, dataset), held=path.stat().st_size)
        check_chunk_trees(path, dataset.ndim)
        check_chunks(dataset)
    return dataset


def _whole(dataset: h5py.Dataset) -> Box:
    return tuple(slice(0, n) for n in dataset.shape)


def _bytes_of(shape: tuple[int, ...], dataset: h5py.Dataset) -> int:
    return math.prod(shape) * int(dataset.dtype.itemsize)


def _bytes_at_once(dataset: h5py.Dataset) -> int:
    """Return the bytes that are decoded to read a data set: its chunks, which may be larger than the data set."""
    chunks = dataset.chunks or dataset.shape
    sides = (-(-n // chunk) * chunk for n, chunk in zip(dataset.shape, chunks, strict=True) if chunk)
    return _bytes_of(tuple(sides), dataset)


def _is_numeric(dataset: h5py.Dataset) -> bool:
    try:
        return dataset.shape is not None and dataset.dtype.kind in "iufb"
    except TypeError:  # a type without an equivalent in NumPy
        return False


def _is_bare_axis(dataset: h5py.Dataset) -> bool:
    return text(dataset.attrs.get("NAME", "")).startswith(_NO_VARIABLE)


def _variable(name: str, dataset: h5py.Dataset, known: _Known) -> xr.Variable:
    dims = _dims(name, dataset, known)
    attrs = attributes(dataset, known.at_once)
    # MATLAB is column-major: axes are reversed in its HDF5 files.
    is_turned = "MATLAB_class" in dataset.attrs
    may_be_small = dataset.ndim != 3 if is_turned else dataset.ndim < 2
    small = may_be_small and known.at_once.take(_bytes_at_once(dataset))
    values = read_dataset(dataset) if small else lazy_dataset(known.path, dataset)
    return xr.Variable(dims[::-1], values.T, attrs) if is_turned else xr.Variable(dims, values, attrs)


def _dims(name: str, dataset: h5py.Dataset, known: _Known) -> tuple[str, ...]:
    dims = tuple(_dim_name(name, dataset, axis, known) for axis in range(dataset.ndim))
    return dims if len(set(dims)) == len(dims) else tuple(f"{name}_axis{axis}" for axis in range(dataset.ndim))


def _dim_name(name: str, dataset: h5py.Dataset, axis: int, known: _Known) -> str:
    scales = dataset.dims[axis]
    if len(scales):
        scale = scales[0]
        # libhdf5 searches the whole file for the name of a referenced data set.
        return known.names.get(_address(scale)) or str(scale.name).rsplit("/", 1)[-1]
    label = str(dataset.dims[axis].label)
    return label or (name if dataset.ndim == 1 and dataset.is_scale else f"{name}_axis{axis}")


class Hdf5(CubeFormat):
    """HDF5 with groups of any names."""

    title = "HDF5"
    suffixes = (".h5", ".hdf5", ".he5")

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a file lazily."""
        return open_labelled(path, variable, bands)


FORMAT = Hdf5()
