"""Look up groups, data sets, attributes and texts of an HDF5 file by their paths, without leaving the file."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import dask.array as da
import h5py
import numpy as np

from hsipipe.errors import FileFormatError
from hsipipe.formats.claims import AtOnce, check_sides
from hsipipe.formats.hdf5 import attributes, lazy_dataset, open_file, read_dataset, text
from hsipipe.formats.hdf5_structure import SIGNATURE

T = TypeVar("T")
_MOST_TEXT_BYTES = 1 << 20
_MOST_BLOCKS = 200_000
"""Most blocks of a lazy array; of 4 MB each, they hold 800 GB. Dask takes memory for each block that is sliced."""


def look_into(path: Path, suffixes: Collection[str], look: Callable[[h5py.File], T]) -> T | None:
    """Return what `look` finds in an HDF5 file of one of these suffixes; None for any other file and a damaged one."""
    if not path.is_file() or path.suffix.lower() not in suffixes:
        return None
    try:
        with path.open("rb") as stream:
            if not stream.read(len(SIGNATURE)).startswith(SIGNATURE):
                return None
        with open_file(path) as file:
            return look(file)
    except Exception:  # h5py raises errors of any type for a damaged file; the general format says what is wrong
        return None


def find(group: h5py.Group, path: str) -> h5py.Dataset | h5py.Group | None:
    """Return the group or data set at a path; None if it is missing, or behind a link that is not a hard link."""
    entry: Any = group
    for part in path.strip("/").split("/"):
        if not isinstance(entry, h5py.Group) or not isinstance(entry.get(part, getlink=True), h5py.HardLink):
            return None
        entry = entry[part]
    return entry


def find_dataset(group: h5py.Group, path: str, *, rank: int | None = None) -> h5py.Dataset | None:
    """Return the data set at a path, if there is one, of numbers of this rank if that is given."""
    entry = find(group, path)
    if not isinstance(entry, h5py.Dataset) or entry.shape is None:
        return None
    if rank is not None and (entry.ndim != rank or entry.dtype.kind not in "iufb" or 0 in entry.shape):
        return None
    return entry


def attributes_of(entry: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Return the attributes that are text or numbers; those that would take too much memory are skipped."""
    return attributes(entry, AtOnce())


def open_array(path: Path, dataset: h5py.Dataset) -> da.Array:
    """Open a data set lazily.

    Raises:
        FileFormatError: It claims far more values than any scene has, or stores them in another file.
    """
    check_sides(str(dataset.name), dataset.shape)
    array = lazy_dataset(path, dataset)
    if array.npartitions > _MOST_BLOCKS:
        shape = " x ".join(map(str, dataset.shape))
        raise FileFormatError(
            f"{dataset.name!r} claims {shape} values in {array.npartitions} blocks, expected at most {_MOST_BLOCKS}; "
            "the file is damaged, or cut the scene"
        )
    return array


def vector(entry: h5py.Dataset | None, *, size: int) -> Any:
    """Read a vector of `size` numbers, (size,); None for anything else."""
    if entry is None or entry.size != size or entry.dtype.kind not in "iufb" or max(entry.shape, default=0) != size:
        return None
    if not AtOnce().take(size * int(entry.dtype.itemsize)):
        return None
    return np.asarray(read_dataset(entry), dtype=np.float64).ravel()


def text_of(entry: h5py.Dataset | None) -> str:
    """Read a text of one value; empty for anything else.

    Raises:
        FileFormatError: It is too long.
    """
    if entry is None or entry.shape is None or entry.size != 1:
        return ""
    is_fixed = entry.dtype.kind == "S"
    if not is_fixed and h5py.check_string_dtype(entry.dtype) is None:
        return ""
    held = entry.dtype.itemsize if is_fixed else entry.id.get_storage_size()
    if held > _MOST_TEXT_BYTES:
        raise FileFormatError(f"the text {entry.name!r} has {held} bytes, expected at most {_MOST_TEXT_BYTES}")
    return text(read_dataset(entry).ravel()[0])
