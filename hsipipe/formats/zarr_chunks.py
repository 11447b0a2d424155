"""Check what a compressed chunk of a Zarr store unpacks to, before it is unpacked.

Decoders trust the sizes in a chunk, or have no limit at all: a chunk of a few kB can unpack to gigabytes.
"""

import bz2
import lzma
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from hsipipe.errors import FileFormatError
from hsipipe.formats.claims import check_claim

COMPRESSORS = ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd")
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_LEAST, _MOST_RATIO = 64 << 20, 8
"""Largest unpacked size: this many bytes, or this multiple of the chunk size; filters may change the data type."""
_DEFLATE_RATIO = 1100
"""Above the largest ratio of deflate, 1032."""
_PIECE = 1 << 20
_ZSTD_MAGIC, _ZSTD_SKIPPABLE = 0xFD2FB528, range(0x184D2A50, 0x184D2A60)
_ZSTD_BLOCK = 128 << 10
"""Largest block of a zstd frame, unpacked (RFC 8878, section 3.1.1.2.4)."""


@dataclass(frozen=True)
class Chain:
    """The codecs of a chunk.

    Attributes:
        nbytes: Size of the unpacked chunk.
        compressor: Name of its compressor, or None.
        inner: Chain of the chunks inside a shard; None for a chunk that is no shard.
        count: Number of chunks in a shard.
        index_at: Place of the index of a shard.
    """

    nbytes: int
    compressor: str | None = None
    inner: "Chain | None" = None
    count: int = 0
    index_at: Literal["start", "end"] = "end"

    def check(self, data: memoryview) -> None:
        """Check a whole chunk or shard.

        Raises:
            FileFormatError: It unpacks to far more than its size, or to more than its array says.
        """
        if self.inner is not None:
            for piece in self._pieces(data):
                self.inner.check(piece)
            return
        check_claim("a chunk", self.nbytes, held=len(data))
        most = max(_LEAST, _MOST_RATIO * self.nbytes)
        if self.compressor is not None and _exceeds(self.compressor, data, most):
            raise FileFormatError(
                f"a chunk of {len(data)} bytes unpacks to far more than the {self.nbytes} of its array; it is damaged"
            )

    def check_part(self, data: memoryview, part: ByteRequest) -> None:
        """Check a part of a shard that was read by its place: its index, or a chunk inside."""
        is_index = isinstance(part, SuffixByteRequest) or (
            self.index_at == "start" and isinstance(part, RangeByteRequest) and part.start == 0
        )
        if self.inner is not None and not is_index:
            self.inner.check(data)

    def _pieces(self, shard: memoryview) -> Iterator[memoryview]:
        size = 16 * self.count
        start = 0 if self.index_at == "start" else max(0, len(shard) - size - 4)  # a checksum follows
        table = np.frombuffer(shard[start : start + size][: size // 16 * 16], dtype="<u8")
        for offset, length in table[: len(table) // 2 * 2].reshape(-1, 2).tolist():
            if offset + length <= len(shard):  # the marks of missing chunks are beyond it
                yield shard[offset : offset + length]


class CheckedStore(LocalStore):
    """A folder of one array, each chunk of which is checked when it is read."""

    def __init__(self, root: Path, chain: Chain) -> None:
        super().__init__(root, read_only=True)
        self._chain = chain

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file of the store, or a part of it."""
        found = await super().get(key, prototype, byte_range)
        if found is not None and not key.endswith(METADATA):
            data = found.as_numpy_array().data
            if byte_range is None:
                self._chain.check(data)
            else:
                self._chain.check_part(data, byte_range)
        return found


def chain_of(tree: Mapping[str, Any], item: int) -> Chain:
    """Return the chain of an array.

    Args:
        tree: Its metadata, checked by :func:`~hsipipe.formats.zarr_safety.check_node`.
        item: Bytes of a value.
    """
    if "codecs" not in tree:
        entries = [entry for entry in [*(tree.get("filters") or []), tree.get("compressor")] if entry]
        _check_lzma(entry for entry in entries if entry["id"] == "lzma")
        names = [entry["id"] for entry in entries]
        return Chain(math.prod(tree["chunks"]) * item, _compressor(names))
    return _chain_v3(tree["codecs"], math.prod(tree["chunk_grid"]["configuration"]["chunk_shape"]), item)


def _chain_v3(codecs: Any, values: int, item: int) -> Chain:
    names = [codec["name"] if isinstance(codec, Mapping) else str(codec) for codec in codecs]
    compressor = _compressor([name.removeprefix("numcodecs.") for name in names])
    if compressor == "lzma":
        _check_lzma(codec.get("configuration") or {} for codec in codecs if isinstance(codec, Mapping))
    for codec in codecs:
        if isinstance(codec, Mapping) and codec["name"] == "sharding_indexed":
            if compressor is not None:
                raise FileFormatError(f"shards are compressed by {compressor}; compress the chunks inside of them")
            given = codec["configuration"]
            inside = math.prod(given["chunk_shape"])
            inner = _chain_v3(given["codecs"], inside, item)
            return Chain(
                values * item,
                inner=inner,
                count=values // max(1, inside),
                index_at="start" if given.get("index_location") == "start" else "end",
            )
    return Chain(values * item, compressor)


def _check_lzma(settings: Iterable[Mapping[str, Any]]) -> None:
    if any(entry.get("format") == lzma.FORMAT_RAW for entry in settings):
        raise FileFormatError("an array is compressed by raw lzma, whose size cannot be checked; use another codec")


def _compressor(names: list[str]) -> str | None:
    found = [name for name in names if name in COMPRESSORS]
    if len(found) > 1:
        raise FileFormatError(f"an array is compressed {len(found)} times ({', '.join(found)}), expected once")
    return found[0] if found else None


def _exceeds(compressor: str, data: memoryview, most: int) -> bool:
    """Return True if a chunk unpacks to more than `most` bytes."""
    if compressor == "blosc":
        return int.from_bytes(data[4:8], "little") > most
    if compressor == "lz4":
        return int.from_bytes(data[:4], "little") > most
    if compressor == "zstd":
        return _zstd_size(data) > most
    if compressor in ("gzip", "zlib") and _DEFLATE_RATIO * len(data) <= most:
        return False
    return _inflated(compressor, data, most) > most


def _inflated(compressor: str, data: memoryview, most: int) -> int:
    """Unpack piece by piece until there are more than `most` bytes; concatenated streams count together."""
    start: Callable[[], Any] = {
        "gzip": lambda: zlib.decompressobj(wbits=31),
        "zlib": zlib.decompressobj,
        "bz2": bz2.BZ2Decompressor,
        "lzma": lzma.LZMADecompressor,
    }[compressor]
    total, place, stream, waiting = 0, 0, start(), b""
    try:
        while total <= most and (waiting or place < len(data) or not getattr(stream, "needs_input", True)):
            if not waiting:
                waiting, place = bytes(data[place : place + _PIECE]), place + _PIECE
            total += len(stream.decompress(waiting, _PIECE))
            waiting = getattr(stream, "unconsumed_tail", b"")
            if stream.eof:
                # Zeros may pad a stream.
                waiting, stream = stream.unused_data.lstrip(b"\0"), start()
    except (zlib.error, OSError, EOFError):
        return total  # the decoder describes the damage
    return total


def _zstd_size(data: memoryview) -> int:
    """Return the sum of the sizes that zstd frames state, of one without a size the most that its blocks can hold."""
    total, place = 0, 0
    while place + 4 <= len(data):
        magic = int.from_bytes(data[place : place + 4], "little")
        if magic in _ZSTD_SKIPPABLE:
            place += 8 + int.from_bytes(data[place + 4 : place + 8], "little")
        elif magic == _ZSTD_MAGIC:
            size, place = _zstd_frame(data, place + 4)
            total += size
        else:
            break
    return total


def _zstd_frame(data: memoryview, place: int) -> tuple[int, int]:
    """Return the unpacked size of a frame and the place behind it (RFC 8878, sections 3.1.1.1 and 3.1.1.2)."""
    if place >= len(data):
        return 0, len(data)
    flags = data[place]
    is_single, size_code = bool(flags & 0x20), flags >> 6
    place += 1 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    length = (1 if is_single else 0, 2, 4, 8)[size_code]
    stated = int.from_bytes(data[place : place + length], "little") + (256 if length == 2 else 0)
    place, held, is_last = place + length, 0, False
    while not is_last and place + 3 <= len(data):
        head = int.from_bytes(data[place : place + 3], "little")
        is_last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        place += 3 + (1 if kind == 1 else size)
        held += _ZSTD_BLOCK if kind == 2 else size
    return (stated if length else held), place + (4 if flags & 4 else 0)
