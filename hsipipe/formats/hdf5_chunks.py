"""Read chunks of HDF5 whose sizes are checked first.

libhdf5 trusts a chunk: it inflates without a limit, and reads behind the end of one that is too short.
Source: HDF5 File Format Specification 3.0, "Filter Pipeline" and "Data Layout".
"""

import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5t, h5z
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.hdf5_structure import MOST_SEARCHED
from hsipipe.formats.lazy import Box

_COMPRESSORS = (h5z.FILTER_DEFLATE, h5z.FILTER_LZF, h5z.FILTER_SZIP)
_KNOWN = (*_COMPRESSORS, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32)
_SUM_BYTES = 4
_MISSING = "not allocated"
"""Part of libhdf5's error for a chunk that was never written."""
_MOST_TINY, _TINY_BYTES = 1 << 15, 512
"""Most chunks that are smaller than this; each takes some microseconds."""
_MOST_BLOCK, _MOST_LINE, _MOST_BITS = 32, 4096, 64
"""Limits of szip: pixels of a block and of a scan line, bits of a pixel."""


@dataclass(frozen=True)
class _Chunks:
    """The chunks of a data set.

    Attributes:
        shape: Shape of a chunk.
        nbytes: Its size in bytes.
        filters: Parameters of the filters by their number, in the order of writing.
        counts_lzf: The size of an LZF chunk is counted, which takes longer than to unpack it.
    """

    shape: tuple[int, ...]
    nbytes: int
    filters: dict[int, tuple[int, ...]]
    counts_lzf: bool


def check_chunks(dataset: h5py.Dataset) -> None:
    """Check that the chunks of a data set can be bounded before they are read.

    Raises:
        FileFormatError: They are tiny and countless, or a filter is unknown, false or doubled.
    """
    if dataset.chunks is not None:
        _chunks_of(dataset)


def read_box(dataset: h5py.Dataset, box: Box) -> NDArray[Any]:
    """Read a box of a data set, one slice of step 1 per axis.

    Raises:
        FileFormatError: A chunk does not unpack to its size.
    """
    if dataset.chunks is None:
        return np.asarray(dataset[box])
    chunks = _chunks_of(dataset)
    if not _is_plain(dataset, chunks):
        check_values(dataset, box)
        return np.asarray(dataset[box])
    values = np.full([part.stop - part.start for part in box], dataset.fillvalue, dataset.dtype)
    for start in _starts(chunks.shape, box):
        data = _unpack(dataset, chunks, start)
        if data is not None:
            place, inside = _overlap(box, start, chunks.shape)
            values[place] = data.view(dataset.dtype).reshape(chunks.shape)[inside]
    return values


def check_values(dataset: h5py.Dataset, box: Box) -> None:
    """Check the chunks of a box, which libhdf5 then reads.

    Raises:
        FileFormatError: A chunk does not unpack to its size.
    """
    if dataset.chunks is not None:
        chunks = _chunks_of(dataset)
        for start in _starts(chunks.shape, box):
            _unpack(dataset, chunks, start)


def _chunks_of(dataset: h5py.Dataset) -> _Chunks:
    plist = dataset.id.get_create_plist()
    filters: dict[int, tuple[int, ...]] = {}
    for place in range(plist.get_nfilters()):
        code, _, parameters, name = plist.get_filter(place)
        if code not in _KNOWN:
            raise FileFormatError(
                f"{dataset.name!r} is packed by the HDF5 filter {name.decode('utf-8', 'replace') or code!r}, whose "
                "output has no bound; repack it: h5repack -f GZIP=4 in.h5 out.h5"
            )
        if code in filters or (code in _COMPRESSORS and any(other in filters for other in _COMPRESSORS)):
            raise FileFormatError(f"{dataset.name!r} is packed twice; repack it: h5repack -f GZIP=4 in.h5 out.h5")
        filters[code] = tuple(parameters)
    nbytes = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
    _check_count(dataset, nbytes)
    _check_parameters(dataset, filters)
    # With its size as a parameter, libhdf5 reserves enough; a chunk that unpacks to more costs time alone.
    counts_lzf = filters.get(h5z.FILTER_LZF, ())[2:3] != (nbytes,) or dataset.file.id.get_filesize() <= MOST_SEARCHED
    return _Chunks(dataset.chunks, nbytes, filters, counts_lzf)


def _check_count(dataset: h5py.Dataset, nbytes: int) -> None:
    count = math.prod(-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if nbytes < _TINY_BYTES and count > _MOST_TINY:
        raise FileFormatError(
            f"{dataset.name!r} has {count} chunks of {nbytes} bytes; repack it with larger ones: h5repack -l CHUNK=..."
        )


def _check_parameters(dataset: h5py.Dataset, filters: dict[int, tuple[int, ...]]) -> None:
    szip = filters.get(h5z.FILTER_SZIP)
    if szip is not None:
        block, bits, line = (*szip, 0, 0, 0)[1:4]
        if not (0 < block <= min(line, _MOST_BLOCK) and line <= _MOST_LINE and 0 < bits <= _MOST_BITS):
            raise FileFormatError(f"{dataset.name!r} has false parameters of szip, {szip}")


def _is_plain(dataset: h5py.Dataset, chunks: _Chunks) -> bool:
    """Return True if the values are the inflated bytes of a chunk, shuffled or not."""
    item = int(dataset.dtype.itemsize)
    is_shuffled_so = chunks.filters.get(h5z.FILTER_SHUFFLE, (item,))[:1] == (item,)
    is_own = not {h5z.FILTER_LZF, h5z.FILTER_SZIP, h5z.FILTER_FLETCHER32}.intersection(chunks.filters)
    return is_own and is_shuffled_so and bool(dataset.id.get_type() == h5t.py_create(dataset.dtype))


def _starts(shape: Sequence[int], box: Box) -> Iterator[tuple[int, ...]]:
    """Iterate over the first corners of the chunks in a box."""
    axes = (range(part.start // n * n, part.stop, n) for part, n in zip(box, shape, strict=True))
    return itertools.product(*axes)


def _overlap(box: Box, start: Sequence[int], shape: Sequence[int]) -> tuple[Box, Box]:
    """Return the part of a chunk in a box, counted from the first corner of the box and from that of the chunk."""
    ends = [
        (max(part.start, first), min(part.stop, first + n)) for part, first, n in zip(box, start, shape, strict=True)
    ]
    return (
        tuple(slice(a - part.start, b - part.start) for (a, b), part in zip(ends, box, strict=True)),
        tuple(slice(a - first, b - first) for (a, b), first in zip(ends, start, strict=True)),
    )


def _unpack(dataset: h5py.Dataset, chunks: _Chunks, start: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Check a chunk, and return its bytes, inflated and unshuffled; None for a missing one."""
    try:
        mask, raw = dataset.id.read_direct_chunk(start)
    except (OSError, RuntimeError, MemoryError) as error:  # of any type where no chunk was ever written
        if _MISSING in str(error) or not dataset.id.get_storage_size():
            return None
        raise
    active = [code for place, code in enumerate(chunks.filters) if not mask >> place & 1]
    packed = next((place for place, code in enumerate(active) if code in _COMPRESSORS), None)
    expected = chunks.nbytes + _SUM_BYTES * (h5z.FILTER_FLETCHER32 in active[:packed])
    held = len(raw)
    if packed is not None and active[packed] == h5z.FILTER_LZF and not chunks.counts_lzf:
        held = expected
    elif packed is not None:
        end = held - _SUM_BYTES * (h5z.FILTER_FLETCHER32 in active[packed:])
        if active[packed] == h5z.FILTER_DEFLATE:
            raw = zlib.decompressobj().decompress(raw, expected + 1)
            end = len(raw)
        size_of = {h5z.FILTER_DEFLATE: len, h5z.FILTER_LZF: _lzf_size, h5z.FILTER_SZIP: _szip_size}
        held = size_of[active[packed]](raw[:end])
    if held != expected:
        raise FileFormatError(f"a chunk of {dataset.name!r} holds {held} bytes, expected {expected}; it is damaged")
    values = np.frombuffer(raw, np.uint8)
    return _unshuffled(values, dataset.dtype.itemsize) if h5z.FILTER_SHUFFLE in active else values


def _szip_size(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little")


def _lzf_size(raw: bytes) -> int:
    """Return the size that LZF unpacks to, which libhdf5 finds by trying: literals, and copies of 2 or 3 bytes."""
    place = size = 0
    while place < len(raw):
        code = raw[place]
        if code < 32:
            size, place = size + code + 1, place + code + 2
        elif code < 224:
            size, place = size + (code >> 5) + 2, place + 2
        else:
            size, place = size + (raw[place + 1] if place + 1 < len(raw) else 0) + 9, place + 3
    return size


def _unshuffled(values: NDArray[np.uint8], item: int) -> NDArray[np.uint8]:
    """Put the bytes of each number together: they are stored first byte by first byte, then second by second."""
    planes = values[: values.size // item * item].reshape(item, -1)
    found = np.empty(planes.shape[::-1], np.uint8)
    for place, plane in enumerate(planes):
        found[:, place] = plane
    return found.ravel()
