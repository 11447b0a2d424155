"""Walk the directories of a TIFF and check that it holds what they refer to, before a library reads their tables.

Source: TIFF Revision 6.0, section 2; for BigTIFF https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import tifffile

from hsipipe.errors import FileFormatError
from hsipipe.storage.places import open_bytes, size_of
from hsipipe.storage.urls import Place

_MOST_DIRECTORIES = 800
"""Largest number of images; GDAL opens each to read it, which takes a millisecond."""
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by its type."""
_SAMPLES, _METADATA = 277, 42112
_SILENT, _LEAST_PRIVATE = {273, 279, 324, 325, 270, 285, 297, 306}, 50_000
"""Tags that say nothing about numbers: places and sizes of the data; description, name, number and date of a page; and
those of programs."""
_MOST_SAMPLES = 4096
_MOST_METADATA, _METADATA_OF_A_BAND = 256 << 10, 4 << 10
"""Most bytes of GDAL's metadata, and the same for each band: the time that GDAL takes grows with their square."""


@dataclass(frozen=True)
class _Layout:
    """Sizes of the parts of a directory, in classic TIFF or in BigTIFF."""

    order: str
    count: str
    offset: str
    tag_bytes: int

    def size(self, code: str) -> int:
        return struct.calcsize(self.order + code)


@dataclass(frozen=True)
class Directory:
    """A directory: its place in the file, and the tags that may say something about its numbers."""

    place: int
    tags: tuple[tuple[int, int, int, bytes], ...]


def check_whole(path: Place) -> list[Directory]:
    """Check that a file contains all directories and data that it refers to; return the directories.

    Raises:
        FileFormatError: The file is shorter, has too many directories, or they share their bytes.
    """
    size = size_of(path)
    with open_bytes(path) as stream:
        found = list(_walk(stream, size))
        stream.seek(0)
        with tifffile.TiffFile(stream) as file:
            end = max((_end_of_data(page) for page in file.pages), default=0)
    if end > size:
        raise FileFormatError(
            f"it has {size} bytes, expected {end} by its directory; the file is incomplete, copy it again"
        )
    return found


def _walk(stream: BinaryIO, size: int) -> Iterator[Directory]:
    layout, offset = _head(stream)
    seen, together = set[int](), 0
    while offset and offset not in seen:
        seen.add(offset)
        if len(seen) > _MOST_DIRECTORIES:
            raise FileFormatError(
                f"it holds more than {_MOST_DIRECTORIES} images; write the bands as samples of one image"
            )
        (count,) = _read(stream, layout, layout.count, offset, size)
        head, inside = layout.size(layout.count), count * layout.tag_bytes
        together += head + inside
        end = offset + head + inside + layout.size(layout.offset)
        if end > size:
            raise FileFormatError(
                f"it has {size} bytes, expected {end} by its directory; the file is incomplete, copy it again"
            )
        stream.seek(offset + head)
        tags = stream.read(inside) if together <= size else b""
        together += _bytes_outside(tags, layout)
        if together > size:
            raise FileFormatError(f"its directories claim {together} bytes of {size}; they share them, or are damaged")
        yield Directory(offset, tuple(_tags(stream, tags, layout)))
        (offset,) = _read(stream, layout, layout.offset, offset + head + inside, size)


def _head(stream: BinaryIO) -> tuple[_Layout, int]:
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise FileFormatError("not a TIFF, it begins with other bytes")
    (version,) = struct.unpack(order + "H", head[2:4])
    if version == 43 and len(head) == 16:
        return _Layout(order, "Q", "Q", 20), struct.unpack(order + "Q", head[8:])[0]
    if version != 42:
        raise FileFormatError(f"not a TIFF, its version is {version}, expected 42 or 43")
    return _Layout(order, "H", "I", 12), struct.unpack(order + "I", head[4:8])[0]


def _read(stream: BinaryIO, layout: _Layout, code: str, offset: int, size: int) -> tuple[int, ...]:
    length = layout.size(code)
    if offset + length > size:
        raise FileFormatError(
            f"it has {size} bytes, expected {offset + length} by its directory; the file is incomplete, copy it again"
        )
    stream.seek(offset)
    return struct.unpack(layout.order + code, stream.read(length))


def _bytes_outside(tags: bytes, layout: _Layout) -> int:
    """Return the bytes of the values that are stored outside of a directory."""
    total, samples, metadata = 0, 1, 0
    code = layout.order + "HH" + layout.offset
    for start in range(0, len(tags), layout.tag_bytes):
        tag, kind, count = struct.unpack_from(code, tags, start)
        nbytes = count * _BYTES.get(kind, 1)
        if nbytes > layout.size(layout.offset):
            total += nbytes
        if tag == _SAMPLES:
            (samples,) = struct.unpack_from(
                layout.order + "H", tags, start + layout.tag_bytes - layout.size(layout.offset)
            )
        if tag == _METADATA:
            metadata = nbytes
    if samples > _MOST_SAMPLES:
        raise FileFormatError(f"an image has {samples} bands, expected at most {_MOST_SAMPLES}")
    if metadata > _MOST_METADATA + _METADATA_OF_A_BAND * samples:
        raise FileFormatError(f"an image of {samples} bands has {metadata} bytes of metadata; write it without them")
    return total


def _tags(stream: BinaryIO, tags: bytes, layout: _Layout) -> Iterator[tuple[int, int, int, bytes]]:
    """Iterate over the tags that may say something about the numbers: number, type, count and bytes."""
    length = layout.size(layout.offset)
    for start in range(0, len(tags), layout.tag_bytes):
        tag, kind, count = struct.unpack_from(layout.order + "HH" + layout.offset, tags, start)
        if tag in _SILENT or tag >= _LEAST_PRIVATE:
            continue
        value, nbytes = tags[start + layout.tag_bytes - length : start + layout.tag_bytes], count * _BYTES.get(kind, 1)
        if nbytes > length:
            stream.seek(struct.unpack(layout.order + layout.offset, value)[0])
            value = stream.read(nbytes)
        yield tag, kind, count, value


def _end_of_data(page: tifffile.TiffPage | tifffile.TiffFrame) -> int:
    starts, counts = (np.asarray(values, dtype=np.int64) for values in (page.dataoffsets, page.databytecounts))
    if len(starts) != len(counts):
        raise FileFormatError(f"a directory lists {len(starts)} strips or tiles and {len(counts)} sizes of them")
    return int((starts + counts).max(initial=0))
