"""Read arrays lazily from their files, as Dask arrays.

A source opens its file for each read: it can be pickled, no file stays open, and an error in a damaged file is raised
as :class:`FileFormatError`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.array.core import normalize_chunks
from dask.base import tokenize
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError, HsipipeError, one_line
from hsipipe.storage.places import version_of
from hsipipe.storage.stores import rows_per_chunk
from hsipipe.storage.urls import Place, Url

_CHUNK_BYTES, _REMOTE_CHUNK_BYTES = 4 << 20, 256 << 10
"""Size up to which chunks of a file are joined; over the network a window takes little more than it needs."""
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Source(ABC):
    """Array in a file.

    Attributes:
        path: File, or its address.
        shape: Shape of the array.
        dtype: Type of the array.
    """

    path: Place
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    def version(self) -> tuple[str, int]:
        """Return what tells the versions of the file apart."""
        return version_of(self.path)

    @abstractmethod
    def read(self, box: Box) -> NDArray[Any]:
        """Read a box: one slice per axis, each with a start, a stop and step 1."""

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read by slices and integers."""
        entries = index if isinstance(index, tuple) else (index,)
        entries = (*entries, *(slice(None),) * (self.ndim - len(entries)))
        box, rest = zip(*(_split(entry, n) for entry, n in zip(entries, self.shape, strict=True)), strict=True)
        try:
            values = np.asarray(self.read(box))
        except FileFormatError as error:
            raise FileFormatError(f"{self.path}: {error}") from error
        except HsipipeError:
            raise
        except Exception as error:  # parsers of damaged files raise errors of any type
            raise FileFormatError(f"{self.path} cannot be read, the file is damaged: {one_line(error)}") from error
        return np.asarray(values[rest])


@dataclass(frozen=True)
class MappedSource(Source):
    """Uncompressed numbers in a file, mapped into memory.

    Attributes:
        path: File of this machine.
        offset: Offset of the first number in bytes.
        strides: Distance between neighbours along each axis in bytes.
    """

    path: Path
    offset: int
    strides: tuple[int, ...]

    def read(self, box: Box) -> NDArray[Any]:
        """Copy the box out of the mapped file."""
        raw = np.memmap(self.path, dtype=np.uint8, mode="r")
        return np.ndarray(self.shape, self.dtype, raw, self.offset, self.strides)[box].copy()


def open_lazily(source: Source, *, stored: Sequence[int] | None = None, rows: bool = True) -> da.Array:
    """Open a source as a Dask array.

    Args:
        source: Array in a file.
        stored: Shape of the chunks in the file; the chunks of the result are whole multiples of it.
        rows: The axes are (band, y, x) and reading a range of rows is cheap: chunk by rows.
    """
    chunks: Any
    if stored is not None:
        size = math.prod(stored) * source.dtype.itemsize
        joined = _REMOTE_CHUNK_BYTES if isinstance(source.path, Url) else _CHUNK_BYTES
        chunks = normalize_chunks(
            "auto", source.shape, limit=max(size, joined), dtype=source.dtype, previous_chunks=tuple(stored)
        )
    elif rows:
        chunks = (-1, rows_per_chunk(source.shape), -1)
    else:
        chunks = normalize_chunks("auto", source.shape, limit=_CHUNK_BYTES, dtype=source.dtype)
    name = f"{type(source).__name__}-{tokenize(type(source).__name__, vars(source), source.version())}"
    array: da.Array = da.from_array(
        source, chunks=chunks, name=name, fancy=False, meta=np.empty((0,) * source.ndim, source.dtype)
    )
    return array


def blocks(cube: xr.DataArray) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Iterate over a cube in blocks of bounded size, aligned with the chunks of the file.

    Yields:
        The bands of a block, and its values (band, y, x). Each value of the cube is in exactly one block.
    """
    if cube.chunks is None:
        step = rows_per_chunk(cube.shape)
        for start in range(0, cube.shape[1], step):
            yield slice(0, cube.shape[0]), cube[:, start : start + step].to_numpy()
        return
    ends = np.cumsum((0, *cube.chunks[0]))
    for position in np.ndindex(*cube.data.numblocks):
        yield slice(int(ends[position[0]]), int(ends[position[0] + 1])), cube.data.blocks[position].compute()


def strips(cube: xr.DataArray) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Iterate over a cube (band, y, x) from top to bottom, in rows of its chunks.

    Yields:
        Rows, and their values (band, rows, x).
    """
    step = rows_per_chunk(cube.shape) if cube.chunks is None else max(cube.chunks[1])
    for start in range(0, cube.shape[1], step):
        rows = slice(start, min(start + step, cube.shape[1]))
        yield rows, cube[:, rows].values


def count_blocks(cube: xr.DataArray) -> int:
    """Return the number of blocks that :func:`blocks` yields."""
    return -(-cube.shape[1] // rows_per_chunk(cube.shape)) if cube.chunks is None else int(cube.data.npartitions)


def _split(entry: Any, n: int) -> tuple[slice, Any]:
    """Split an index into a slice of step 1 to read and an index into the values read."""
    if not isinstance(entry, slice):
        place = int(entry) % n
        return slice(place, place + 1), 0
    chosen = range(n)[entry]
    if not chosen:
        return slice(0, 0), slice(None)
    low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
    return slice(low, high + 1), slice(None, None, chosen.step)
