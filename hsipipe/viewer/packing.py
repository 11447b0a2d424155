"""Pack planes of integers for a web page: predict from neighbours, split into bytes, deflate.

A page unpacks them with DecompressionStream, which every current browser has, and a few lines of JavaScript
(``viewer.js``). The predictions are those of PNG (ISO/IEC 15948, clause 9), on whole integers: the left neighbour, or
left + upper - upper left.
"""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

PLAIN, LEFT, GRADIENT = range(3)
"""Codes of the prediction of a plane."""
_MOST_BYTES = 4
# Level 9 takes ten times as long for 5 % less.
_LEVEL = 6


def pack(planes: NDArray[np.integer[Any]]) -> str:
    """Pack planes (K, h, w) of integers up to 2**29 in size as base64.

    The bytes before compression: for each plane the code of its prediction and its number of bytes; then, plane by
    plane, the lowest bytes of all values, the next ones, and so on. Values are differences to the prediction, with the
    sign in the lowest bit.

    >>> unpack(pack(np.arange(6).reshape(1, 2, 3)), (1, 2, 3))[0].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    head, body = bytearray(), bytearray()
    for plane in planes.astype(np.int32):
        code, values = min(_predicted(plane), key=lambda entry: int(np.abs(entry[1]).sum(dtype=np.int64)))
        unsigned = (values.astype(np.int64) << 1) ^ (values.astype(np.int64) >> 31)
        count = (int(unsigned.max(initial=0)).bit_length() + 7) // 8
        head += bytes((code, count))
        for number in range(count):
            body += (unsigned >> (8 * number) & 255).astype(np.uint8).tobytes()
    return base64.b64encode(zlib.compress(bytes(head + body), _LEVEL)).decode()


def unpack(text: str, shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """Unpack planes (K, h, w), as the page does.

    Raises:
        FileFormatError: The text does not hold planes of this shape.
    """
    count, height, width = shape
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
    except (ValueError, zlib.error) as error:
        raise FileFormatError(f"These are no packed planes ({error}).") from error
    sizes = [data[2 * plane + 1] for plane in range(count)] if len(data) >= 2 * count else []
    if len(data) != 2 * count + sum(sizes) * height * width or max(sizes, default=0) > _MOST_BYTES:
        raise FileFormatError(f"Got {len(data)} bytes of packed planes, which {count} planes do not fill.")
    planes, place = np.empty(shape, np.int32), 2 * count
    for number, size in enumerate(sizes):
        unsigned = np.zeros(height * width, np.int64)
        for byte in range(size):
            part = np.frombuffer(data, np.uint8, height * width, place)
            unsigned |= part.astype(np.int64) << (8 * byte)
            place += height * width
        values = ((unsigned >> 1) ^ -(unsigned & 1)).reshape(height, width)
        if data[2 * number] != PLAIN:
            values = values.cumsum(axis=1)
        if data[2 * number] == GRADIENT:
            values = values.cumsum(axis=0)
        planes[number] = values
    return planes


def pack_floats(values: NDArray[np.floating[Any]]) -> str:
    """Pack float32 values, as little-endian bytes in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def unpack_floats(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Unpack float32 values of this shape.

    Raises:
        FileFormatError: The text does not hold this number of values.
    """
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32).reshape(shape)
    except ValueError as error:
        raise FileFormatError(f"These are no packed values of the shape {shape} ({error}).") from error


def _predicted(plane: NDArray[np.int32]) -> list[tuple[int, NDArray[np.int32]]]:
    left = np.diff(plane, axis=1, prepend=np.int32(0))
    return [(PLAIN, plane), (LEFT, left), (GRADIENT, np.diff(left, axis=0, prepend=np.int32(0)))]
