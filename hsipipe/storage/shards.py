"""Write and read shards without Zarr, which copies a shard three times: chunks with a checksum, an index at the end.

:func:`write_shard` writes a shard of any chunks. The other functions are for one uncompressed chunk per row. The layout
is that of Zarr v3's ``sharding_indexed`` codec with the inner codecs ``bytes`` and ``crc32c``. Zarr reads it too, about
ten times slower per row than a memory-mapped file (benchmarks/patch_reading.py).
"""

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, Endian, ShardingCodec
from zarr.codecs.sharding import ShardingCodecIndexLocation

from hsipipe.errors import AlreadyRunningError, DataError, IntegrityError

_CHECKSUM = 4
# Entry of the index for a chunk that was never written.
_EMPTY = np.uint64(2**64 - 1)
# A mapped file needs a handle, and a process often has no more than 1024.
_OPEN_FILES = 128
REMEDY = "The store is damaged; create it again (dvc repro)."


def shard_file(array: zarr.Array[Any], position: tuple[int, ...]) -> Path:
    """Return the file of a shard, or of a chunk of an array without shards."""
    folder = Path(str(getattr(array.store, "root", ""))) / array.path
    return folder / "c" / "/".join(str(i) for i in position)


def read_index(array: zarr.Array[Any], position: tuple[int, ...]) -> NDArray[np.uint64]:
    """Read offset and length in bytes of every chunk of a shard, (chunks along each axis, 2).

    Raises:
        IntegrityError: The file is missing or truncated, its index is damaged, or a chunk was never written.
    """
    path = shard_file(array, position)
    shards = array.shards or array.chunks
    grid = tuple(s // c for s, c in zip(shards, array.chunks, strict=True))
    size = 16 * math.prod(grid)
    found = np.empty(size + _CHECKSUM, dtype=np.uint8)
    try:
        with path.open("rb", buffering=0) as stream:
            length = os.fstat(stream.fileno()).st_size
            got = os.preadv(stream.fileno(), [found.data], max(length - len(found), 0))
    except OSError as error:
        raise unreadable(path, error) from error
    if got != len(found) or not _matches(found[:size], found[size:]):
        raise IntegrityError(f"{path}: the index of its chunks fails the checksum. {REMEDY}")
    index = found[:size].view("<u8").astype(np.uint64).reshape(*grid, 2)
    # The last shard along an axis may extend beyond the array; that part is not written.
    inside = tuple(
        slice(-(-(min((i + 1) * s, n) - i * s) // c))
        for i, s, n, c in zip(position, shards, array.shape, array.chunks, strict=True)
    )
    if (index[inside] == _EMPTY).any():
        raise IntegrityError(f"{path}: a chunk was never written and would read as zeros. {REMEDY}")
    return index


def unreadable(path: Path, error: OSError) -> IntegrityError:
    """Build the error for a file of a store that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return IntegrityError(f"{path} is missing and would be read as zeros. {REMEDY}")
    return IntegrityError(f"{path} cannot be read ({error.strerror}). {REMEDY}")


def fits_rows(array: zarr.Array[Any]) -> bool:
    """Return True if an array has one uncompressed chunk per row, for :func:`write_rows` and :class:`RowReader`."""
    codecs = array.metadata.codecs if array.metadata.zarr_format == 3 else ()
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec):
        return False
    sharding = codecs[0]
    row = (1, *array.shape[1:])
    order = None if array.dtype.itemsize == 1 else Endian.little  # a byte has no order
    return (
        sharding.codecs == (BytesCodec(endian=order), Crc32cCodec())
        and sharding.index_codecs == (BytesCodec(endian=Endian.little), Crc32cCodec())
        and sharding.index_location == ShardingCodecIndexLocation.end
        and sharding.chunk_shape == row
        and (array.shards or ())[1:] == row[1:]
        and array.dtype.newbyteorder("=") == array.dtype
    )


def write_rows(array: zarr.Array[Any], shard: int, rows: Iterable[NDArray[Any]]) -> None:
    """Write the rows of a shard one by one. One row is in memory at a time; Zarr needs the shard three times.

    Args:
        array: Array that :func:`fits_rows` accepts.
        shard: Number of the shard, which is written once by one writer.
        rows: All rows of the shard, each of the shape of an entry.

    Raises:
        AlreadyRunningError: The shard exists.
        DataError: The array is not stored row by row, or the number or shape of the rows differs from the shard's.
    """
    if not fits_rows(array):
        raise DataError(f"{array.store_path} is not stored row by row; write it through Zarr.")
    path = shard_file(array, (shard, *(0 for _ in array.shape[1:])))
    per_shard = (array.shards or array.chunks)[0]
    expected = min(per_shard, array.shape[0] - shard * per_shard)
    index = np.full((per_shard, 2), _EMPTY, dtype="<u8")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stream = path.open("xb")
    except FileExistsError as error:
        raise AlreadyRunningError(f"{path} exists; a shard has one writer. Create the store again.") from error
    with stream:
        count = 0
        for row in rows:
            if row.shape != array.shape[1:] or count == expected:
                raise DataError(f"{path} takes {expected} rows of {array.shape[1:]}, got one more of {row.shape}.")
            content = np.ascontiguousarray(row, dtype=array.dtype).reshape(-1).view(np.uint8)
            index[count] = stream.tell(), content.size + _CHECKSUM
            stream.write(content.data)
            stream.write(_checksum(content))
            count += 1
        if count != expected:
            raise DataError(f"{path} takes {expected} rows, got {count}.")
        stream.write(index.data)
        stream.write(_checksum(index.reshape(-1).view(np.uint8)))


def write_shard(
    array: zarr.Array[Any], position: tuple[int, ...], values: NDArray[Any], *, encode: Callable[[NDArray[Any]], bytes]
) -> None:
    """Write a shard at once, in the place of an old one.

    Args:
        array: Array whose inner codecs are ``bytes``, that of `encode`, and ``crc32c``, with the index at the end.
        position: Place of the shard.
        values: Its values, clipped to the array.
        encode: Compresses a chunk.
    """
    path, chunk = shard_file(array, position), array.chunks
    grid = tuple(s // c for s, c in zip(array.shards or chunk, chunk, strict=True))
    index = np.full((*grid, 2), _EMPTY, dtype="<u8")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for place in np.ndindex(grid):
            part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunk, strict=True))]
            if not part.size:  # beyond the end of the array
                continue
            if part.shape != chunk:
                part = np.pad(part, [(0, c - n) for c, n in zip(chunk, part.shape, strict=True)])
            content = np.frombuffer(encode(np.ascontiguousarray(part, dtype=array.dtype)), dtype=np.uint8)
            index[place] = stream.tell(), content.size + _CHECKSUM
            stream.write(content.data)
            stream.write(_checksum(content))
        stream.write(index.data)
        stream.write(_checksum(index.reshape(-1).view(np.uint8)))


@dataclass(frozen=True)
class _Shard:
    """Open file: its state when it was opened, its bytes, the offsets of its rows, and which rows were checked."""

    state: tuple[int, ...]
    content: NDArray[np.uint8]
    starts: NDArray[np.uint64]
    checked: NDArray[np.bool_]


class RowReader:
    """Reads rows (entries along the first axis) of an array stored with :attr:`ArraySpec.compressed` = False.

    A row is checked when it is first read and after its file changed, because the checksum takes about as long as the
    copy. A removed file is detected at the next read. Threads may share a reader.

    Args:
        array: Array with one row per chunk, see :func:`fits_rows`.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._rows = (array.shards or array.chunks)[0]
        self._bytes = array.dtype.itemsize * math.prod(array.shape[1:])
        self._shards: OrderedDict[int, _Shard] = OrderedDict()
        self._lock = threading.Lock()

    def row(self, number: int) -> NDArray[Any]:
        """Return one row, a read-only view of the mapped file.

        Raises:
            IntegrityError: The file of the row is missing, truncated or damaged; the message names it.
        """
        position, place = divmod(number, self._rows)
        with self._lock:
            shard = self._shard(position)
        start = int(shard.starts[place])
        stop = start + self._bytes
        content = shard.content[start:stop]
        if not shard.checked[place]:
            if not _matches(content, shard.content[stop : stop + _CHECKSUM]):
                path = shard_file(self._array, self._position(position))
                raise IntegrityError(f"{path}: entry {number} of {self._array.name} fails its checksum. {REMEDY}")
            shard.checked[place] = True
        return content.view(self._array.dtype).reshape(self._array.shape[1:])

    def _shard(self, position: int) -> _Shard:
        path = shard_file(self._array, self._position(position))
        try:
            status = os.stat(path)
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = self._shards.get(position)
            if known is not None and known.state == state:
                self._shards.move_to_end(position)
                return known
            index = read_index(self._array, self._position(position)).reshape(-1, 2)
            content = np.asarray(np.memmap(path, mode="r"))
        except OSError as error:
            raise unreadable(path, error) from error
        shard = _Shard(state, content, index[:, 0], np.zeros(len(index), dtype=np.bool_))
        self._shards[position] = shard
        if len(self._shards) > _OPEN_FILES:
            self._shards.popitem(last=False)
        return shard

    def _position(self, shard: int) -> tuple[int, ...]:
        return (shard, *(0 for _ in self._array.shape[1:]))


def _matches(content: NDArray[np.uint8], checksum: NDArray[np.uint8]) -> bool:
    return checksum.tobytes() == _checksum(content)


def _checksum(content: NDArray[np.uint8]) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(_CHECKSUM, "little")
