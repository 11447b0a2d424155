"""Check the structure of a MATLAB file of version 5 to 7.2 before SciPy reads it.

SciPy trusts tags: an unknown type ends the process, and a false size or count fills the memory.

Source: MathWorks, MAT-File Format, chapter 1 (level 5).
"""

import io
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from hsipipe.errors import FileFormatError
from hsipipe.formats.claims import check_claim

_HEADER, _ORDER_AT = 128, 126
_MATRIX, _COMPRESSED = 14, 15
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
"""Bytes of a number or character by its type."""
_CELL, _STRUCT, _OBJECT, _CHARACTERS, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_NUMBERS = range(6, 16)
_IS_COMPLEX = 0x800
_MOST_DEPTH = 32
_MOST_NAME = 4096
_MOST_FIELDS = 4096
_MOST_DIMS = 32
_MOST_ELEMENTS = 1 << 17
"""Most elements of a file; SciPy makes an object of each."""
_BLOCK = 1 << 16


class _Tag(NamedTuple):
    kind: int
    nbytes: int
    padded: int
    """Bytes up to the next element."""
    small: bytes | None
    """Data of an element that is stored within its tag."""


class _Inflated(io.RawIOBase):
    """Unpack a compressed element as it is read."""

    def __init__(self, stream: BinaryIO, packed: int) -> None:
        self._stream, self._left = stream, packed
        self._zlib, self._waiting = zlib.decompressobj(), b""

    def read(self, size: int = -1) -> bytes:
        parts, missing = list[bytes](), size
        while missing > 0 and not self._zlib.eof:
            if not self._waiting:
                self._waiting = self._stream.read(min(self._left, _BLOCK))
                self._left -= len(self._waiting)
                if not self._waiting:
                    break
            part = self._zlib.decompress(self._waiting, missing)
            self._waiting = self._zlib.unconsumed_tail
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


_Stream: TypeAlias = BinaryIO | _Inflated


def check_mat5(path: Path) -> None:
    """Check every element of a file.

    Raises:
        FileFormatError: An element has an unknown type, or a size beyond that of the file or of its parent.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(head[_ORDER_AT:])
        if order is None or 0 in head[:4]:
            raise FileFormatError("it is not a MATLAB file of version 5 or later; save it with -v7 or -v7.3")
        checker = _Checker(order, size)
        while stream.tell() < size:
            tag = checker.tag(stream)
            start = stream.tell()
            if start + tag.nbytes > size:
                raise FileFormatError(f"it has {size} bytes, expected {start + tag.nbytes}; the file is truncated")
            if tag.kind == _COMPRESSED:
                inner = _Inflated(stream, tag.nbytes)
                checker.matrix(inner, checker.tag(inner), depth=0)
            else:
                checker.matrix(stream, tag, depth=0)
            stream.seek(start + (tag.nbytes if tag.kind == _COMPRESSED else tag.padded))


class _Checker:
    def __init__(self, order: str, size: int) -> None:
        self._order, self._size, self._elements, self._claimed = order, size, 0, 0

    def tag(self, stream: "_Stream") -> _Tag:
        """Read a tag."""
        self._elements += 1
        if self._elements > _MOST_ELEMENTS:
            raise FileFormatError(f"it holds more than {_MOST_ELEMENTS} elements; store the cube alone")
        head = self._read(stream, 8)
        (word,) = struct.unpack(f"{self._order}I", head[:4])
        if word >> 16:
            return self._known(word & 0xFFFF, word >> 16, 0, head[4:])
        (nbytes,) = struct.unpack(f"{self._order}I", head[4:])
        return self._known(word, nbytes, -(-nbytes // 8) * 8, None)

    def matrix(self, stream: "_Stream", tag: _Tag, *, depth: int) -> None:
        """Check a matrix, the tag of which was read, and all that it contains; the stream ends behind its data."""
        if tag.kind != _MATRIX or depth > _MOST_DEPTH:
            raise FileFormatError(f"an element has the type {tag.kind}, expected an array, or is nested too deep")
        if depth == 0:
            self._claim(tag.nbytes)
        if tag.nbytes == 0:
            return
        (flags, *_), dims = self._words(stream, 8), self._dims(stream)
        self._name(stream)
        kind, count, parts = flags & 0xFF, math.prod(dims), 2 if flags & _IS_COMPLEX else 1
        if kind in _NUMBERS or kind == _CHARACTERS:
            self._numbers(stream, count, parts, is_text=kind == _CHARACTERS, is_last=depth == 0)
        elif kind == _SPARSE:
            for _ in range(2 + parts):
                self._skip(stream, self.tag(stream))
        elif kind != _OPAQUE:  # SciPy skips what it calls opaque
            self._inner(stream, self._entries(stream, kind, count), depth)

    def _entries(self, stream: "_Stream", kind: int, count: int) -> int:
        """Return the number of matrices inside an array."""
        if kind == _OBJECT:
            self._name(stream)
        if kind in (_STRUCT, _OBJECT):
            return count * self._fields(stream)
        if kind not in (_CELL, _FUNCTION):
            raise FileFormatError(f"an array has the class {kind}, which is unknown; the file is damaged")
        return count if kind == _CELL else 1

    def _claim(self, nbytes: int) -> None:
        self._claimed += nbytes
        check_claim("what it holds", self._claimed, held=self._size)

    def _inner(self, stream: "_Stream", count: int, depth: int) -> None:
        if count > _MOST_ELEMENTS:
            raise FileFormatError(f"an array claims {count} entries, expected at most {_MOST_ELEMENTS}")
        for _ in range(count):
            self.matrix(stream, self.tag(stream), depth=depth + 1)

    def _numbers(self, stream: "_Stream", count: int, parts: int, *, is_text: bool, is_last: bool) -> None:
        """Check the tags of real and imaginary parts; those of the last array are not unpacked for this."""
        for part in range(parts):
            tag = self.tag(stream)
            expected = count * self._item(tag)
            # SciPy makes complex numbers of 16 bytes, and characters of 4.
            self._claim(4 * tag.nbytes if is_text else 16 * count if parts > 1 else 0)
            if tag.nbytes != expected and not is_text:  # characters of UTF-8 take one byte or more
                raise FileFormatError(f"an array of {count} numbers holds {tag.nbytes} bytes, expected {expected}")
            if not (is_last and part == parts - 1):
                self._skip(stream, tag)

    def _item(self, tag: _Tag) -> int:
        """Return the bytes of a number of an element."""
        if tag.kind not in _ITEM_BYTES:
            raise FileFormatError(f"an element has the type {tag.kind}, expected numbers or text")
        return _ITEM_BYTES[tag.kind]

    def _fields(self, stream: "_Stream") -> int:
        """Return the number of fields of a struct."""
        (length, *_), names = self._words(stream, 4), self.tag(stream)
        if not 0 < length <= _MOST_NAME or names.nbytes > _MOST_FIELDS * length or names.nbytes % length:
            raise FileFormatError(f"a struct has names of {length} bytes in {names.nbytes}; the file is damaged")
        self._skip(stream, names)
        return names.nbytes // length

    def _dims(self, stream: "_Stream") -> tuple[int, ...]:
        dims = self._words(stream, 4 * _MOST_DIMS)
        if min(dims, default=0) < 0 or len(dims) < 2:
            raise FileFormatError(f"an array has the dimensions {dims}; the file is damaged")
        return dims

    def _name(self, stream: "_Stream") -> None:
        tag = self.tag(stream)
        if tag.nbytes > _MOST_NAME or self._item(tag) != 1:
            raise FileFormatError(f"a name has {tag.nbytes} bytes, expected at most {_MOST_NAME}")
        self._skip(stream, tag)

    def _words(self, stream: "_Stream", most: int) -> tuple[int, ...]:
        """Read an element of 32-bit integers."""
        tag = self.tag(stream)
        if tag.nbytes > most or tag.nbytes % 4 or self._item(tag) != 4:
            raise FileFormatError(f"an element of {tag.nbytes} bytes and type {tag.kind} is damaged")
        data = tag.small[: tag.nbytes] if tag.small is not None else self._read(stream, tag.padded)[: tag.nbytes]
        return struct.unpack(f"{self._order}{tag.nbytes // 4}i", data)

    def _known(self, kind: int, nbytes: int, padded: int, small: bytes | None) -> _Tag:
        if kind not in (_MATRIX, _COMPRESSED) and (kind not in _ITEM_BYTES or (small is not None and nbytes > 4)):
            raise FileFormatError(f"an element has the type {kind} and {nbytes} bytes; the file is damaged")
        return _Tag(kind, nbytes, padded, small)

    def _skip(self, stream: "_Stream", tag: _Tag) -> None:
        self._item(tag)
        if isinstance(stream, _Inflated):
            left = tag.padded
            while left:
                left -= len(self._read(stream, min(left, _BLOCK)))
        elif stream.seek(tag.padded, io.SEEK_CUR) > self._size:
            raise FileFormatError("an element ends behind the end of the file; the file is truncated")

    def _read(self, stream: "_Stream", size: int) -> bytes:
        try:
            data = stream.read(size)
        except zlib.error as error:
            raise FileFormatError(f"a compressed element is damaged: {error}") from error
        if len(data) < size:
            raise FileFormatError(f"an element has {len(data)} of {size} bytes; the file is truncated")
        return data
