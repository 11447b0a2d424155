"""Walk the directories of a TIFF and check that it holds what they refer to, before a library reads their tables.

Source: TIFF Revision 6.0, section 2; for BigTIFF https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from hsipipe.errors import FileFormatError

_MOST_DIRECTORIES = 640
"""Largest number of images, as many as an imaging spectrometer has bands; GDAL opens each, which takes milliseconds."""
_STARTS = (273, 324)
_COUNTS = (279, 325)
"""Tags with the places and the sizes of strips and of tiles."""
_TYPE_BYTES = {3: 2, 4: 4, 16: 8}


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
    """A directory: its place in the file, and the bytes of its tables of strips or tiles."""

    offset: int
    size: int
    table_bytes: int


def check_whole(path: Path) -> list[Directory]:
    """Check that a file contains all directories and data that it refers to; return the directories in their order.

    Raises:
        FileFormatError: The file is shorter, has too many directories, or they share their bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        found = list(_walk(stream, size))
    claimed = sum(directory.size + directory.table_bytes for directory in found)
    if claimed > size:
        raise FileFormatError(f"its directories claim {claimed} bytes of {size} and share them; the file is damaged")
    with tifffile.TiffFile(path) as file:
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
        if end > size or together > size:
            raise FileFormatError(
                f"it has {size} bytes, expected {max(end, together)} by its directory; the file is incomplete, "
                "copy it again"
            )
        stream.seek(offset + head)
        tables = _table_bytes(stream.read(inside), layout)
        yield Directory(offset, head + inside, tables)
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


def _table_bytes(tags: bytes, layout: _Layout) -> int:
    """Return the bytes of the tables of strips and tiles outside of the directory."""
    total = 0
    code = layout.order + ("HHI" if layout.tag_bytes == 12 else "HHQ")
    for start in range(0, len(tags), layout.tag_bytes):
        tag, kind, count = struct.unpack_from(code, tags, start)
        nbytes = count * _TYPE_BYTES.get(kind, 8)
        if tag in (*_STARTS, *_COUNTS) and nbytes > layout.size(layout.offset):
            total += nbytes
    return total


def _end_of_data(page: tifffile.TiffPage | tifffile.TiffFrame) -> int:
    starts, counts = (np.asarray(values, dtype=np.int64) for values in (page.dataoffsets, page.databytecounts))
    if len(starts) != len(counts):
        raise FileFormatError(f"a directory lists {len(starts)} strips or tiles and {len(counts)} sizes of them")
    return int((starts + counts).max(initial=0))
