"""Shards written and read row by row: one uncompressed chunk a row, a checksum behind each, an index at the end.

The layout is that of Zarr v3's ``sharding_indexed`` codec with the inner codecs ``bytes`` and ``crc32c``. Zarr can read
it, too, but takes some ten times as long for a row as the operating system for its bytes (benchmarks/patch_reading.py).
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
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
# What the index holds for a chunk that was never written.
_EMPTY = np.uint64(2**64 - 1)
# A mapped file takes a handle, of which a process has often no more than 1024.
_OPEN_FILES = 128
MEND = "The store is damaged; make it again (dvc repro)."


def shard_file(array: zarr.Array[Any], position: tuple[int, ...]) -> Path:
    """The file of a shard, or of a chunk of an array without shards."""
    folder = Path(str(getattr(array.store, "root", ""))) / array.path
    return folder / "c" / "/".join(str(i) for i in position)


def read_index(array: zarr.Array[Any], position: tuple[int, ...]) -> NDArray[np.uint64]:
    """Offset and length in bytes of every chunk of a shard that lies in the array, (chunks along each axis, 2).

    Raises:
        IntegrityError: The file is missing or cut off, its index is damaged, or a chunk was never written.
    """
    path = shard_file(array, position)
    shards = array.shards or array.chunks
    grid = tuple(s // c for s, c in zip(shards, array.chunks, strict=True))
    size = 16 * int(np.prod(grid))
    found = np.empty(size + _CHECKSUM, dtype=np.uint8)
    try:
        with path.open("rb", buffering=0) as stream:
            length = os.fstat(stream.fileno()).st_size
            got = os.preadv(stream.fileno(), [found.data], max(length - len(found), 0))
    except OSError as error:
        raise unreadable(path, error) from error
    if got != len(found) or not _matches(found[:size], found[size:]):
        raise IntegrityError(f"{path}: the index of its chunks fails the checksum. {MEND}")
    index = found[:size].view("<u8").astype(np.uint64).reshape(*grid, 2)
    # The last shard along an axis may reach beyond the array; nothing is written there.
    inside = tuple(
        slice(-(-(min((i + 1) * s, n) - i * s) // c))
        for i, s, n, c in zip(position, shards, array.shape, array.chunks, strict=True)
    )
    if (index[inside] == _EMPTY).any():
        raise IntegrityError(f"{path}: a chunk was never written and would read as zeros. {MEND}")
    return index


def unreadable(path: Path, error: OSError) -> IntegrityError:
    """What to raise when a file of a store cannot be read."""
    if isinstance(error, FileNotFoundError):
        return IntegrityError(f"{path} is missing; without it zeros would be read. {MEND}")
    return IntegrityError(f"{path} cannot be read ({error.strerror}). {MEND}")


def fits_rows(array: zarr.Array[Any]) -> bool:
    """Whether an array has one uncompressed chunk a row, as :func:`write_rows` and :class:`RowReader` need it."""
    codecs = array.metadata.codecs if array.metadata.zarr_format == 3 else ()
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec):
        return False
    sharding = codecs[0]
    row = (1, *array.shape[1:])
    return (
        sharding.codecs == (BytesCodec(endian=Endian.little), Crc32cCodec())
        and sharding.index_codecs == (BytesCodec(endian=Endian.little), Crc32cCodec())
        and sharding.index_location == ShardingCodecIndexLocation.end
        and sharding.chunk_shape == row
        and (array.shards or ())[1:] == row[1:]
        and array.dtype.newbyteorder("=") == array.dtype
    )


def write_rows(array: zarr.Array[Any], shard: int, rows: Iterable[NDArray[Any]]) -> None:
    """Write the rows of a shard one after another: one is in memory at a time, where Zarr needs the shard thrice.

    Args:
        array: Such as :func:`fits_rows` says.
        shard: Number of the shard. It has one writer, which writes it once.
        rows: All of its rows, each of the shape of an entry.

    Raises:
        AlreadyRunningError: The shard is there already.
        DataError: The array is no such array; or the rows are more or fewer than the shard has, or of another shape.
    """
    if not fits_rows(array):
        raise DataError(f"{array.store_path} is not stored row by row; it is written through Zarr.")
    path = shard_file(array, (shard, *(0 for _ in array.shape[1:])))
    per_shard = (array.shards or array.chunks)[0]
    expected = min(per_shard, array.shape[0] - shard * per_shard)
    index = np.full((per_shard, 2), _EMPTY, dtype="<u8")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stream = path.open("xb")
    except FileExistsError as error:
        raise AlreadyRunningError(f"{path} exists already; a shard has one writer. Make the store anew.") from error
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


@dataclass(frozen=True)
class _Shard:
    """An open file: how it was found, its bytes, where its rows start, and which of them were checked."""

    state: tuple[int, ...]
    content: NDArray[np.uint8]
    starts: NDArray[np.uint64]
    checked: NDArray[np.bool_]


class RowReader:
    """Rows (entries along the first axis) of an array as :attr:`ArraySpec.compressed` = False stores it.

    A row is checked when it is first read, and again when its file was touched: the checksum takes about as long as
    the copy. A file that was removed is noticed at the next reading. Threads may share a reader.

    Args:
        array: Its chunks are one row each, see :func:`fits_rows`.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._rows = (array.shards or array.chunks)[0]
        self._bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
        self._shards: OrderedDict[int, _Shard] = OrderedDict()
        self._lock = threading.Lock()

    def row(self, number: int) -> NDArray[Any]:
        """One row, a read-only view of the mapped file.

        Raises:
            IntegrityError: The file of the row (named) is missing, cut off or damaged.
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
                raise IntegrityError(f"{path}: entry {number} of {self._array.name} fails its checksum. {MEND}")
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
