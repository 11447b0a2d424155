"""Check what a JPEG 2000 file claims, before a decoder takes memory for it.

Source: ISO/IEC 15444-1, annex A.5.1 (image and tile size, SIZ) and annex I (boxes).
"""

import struct
from pathlib import Path
from typing import BinaryIO

from hsipipe.errors import FileFormatError
from hsipipe.formats.claims import check_claim, check_sides

DRIVER = "JP2OpenJPEG"
_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_START = b"\xff\x4f\xff\x51"
_MOST_BOXES = 1000
_BYTES_PER_SAMPLE = 4
_MOST_TILES = 65_535


def check_jpeg2000(path: Path) -> None:
    """Check the sides of the image and the size of its tiles, each of which is decoded whole.

    Raises:
        FileFormatError: It is not JPEG 2000, or claims far more than it holds.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(_codestream(stream, size, path.name))
        head = stream.read(42)
    if len(head) < 42 or head[:4] != _START:
        raise FileFormatError(f"{path.name} is not JPEG 2000, or is damaged; copy it again")
    right, bottom, left, top, width, height, first_x, first_y, samples = struct.unpack(">8IH", head[8:42])
    if not (left < right and top < bottom and width and height and samples):
        raise FileFormatError(f"{path.name} describes an image without pixels; copy it again")
    check_sides(path.name, (samples, bottom - top, right - left))
    count = -(-(right - first_x) // width) * -(-(bottom - first_y) // height)
    if count > _MOST_TILES:
        raise FileFormatError(f"{path.name} has {count} tiles, expected at most {_MOST_TILES}; write larger ones")
    tile = min(width, right) * min(height, bottom) * samples * _BYTES_PER_SAMPLE
    check_claim(f"a tile of {path.name}", tile, held=size)


def _codestream(stream: BinaryIO, size: int, name: str) -> int:
    """Return the offset of the codestream: that of its box, or 0 in a file without boxes."""
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        return 0
    offset = 0
    for _ in range(_MOST_BOXES):
        stream.seek(offset)
        head = stream.read(16)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head[:8])
        start = 8
        if length == 1 and len(head) == 16:
            (length,), start = struct.unpack(">Q", head[8:16]), 16
        if kind == b"jp2c":
            return offset + start
        if length < start or offset + length > size:
            break
        offset += length
    raise FileFormatError(f"{name} has no codestream; the file is incomplete, copy it again")
