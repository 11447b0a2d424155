"""Check the B-trees and the texts of a small HDF5 file, which libhdf5 follows without an end.

Source: HDF5 File Format Specification 3.0, "Version 1 B-trees" and "Global Heap".
"""

import re
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np

from hsipipe.errors import FileFormatError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_SEARCHED = 4 << 20
"""Largest file that is searched; a false structure costs more than its file only if that is small."""
_MOST_TEXT_BYTES = 256 << 20
_GROUPS, _CHUNKS = 0, 1
_NODE_BYTES = 24


def check_structure(path: Path) -> None:
    """Check the groups and the texts of a small file.

    Raises:
        FileFormatError: A tree of groups leads back to itself, or a text claims to be huge.
    """
    if (state := path.stat()).st_size <= MOST_SEARCHED:
        _check_file(path, state.st_mtime_ns)


def check_chunk_trees(path: Path, ndim: int) -> None:
    """Check the trees of the chunks of arrays with `ndim` axes in a small file.

    Raises:
        FileFormatError: A tree leads back to itself.
    """
    if (state := path.stat()).st_size <= MOST_SEARCHED:
        _check_chunks(path, state.st_mtime_ns, ndim)


@lru_cache(maxsize=64)
def _check_file(path: Path, changed: int) -> None:
    data = path.read_bytes()
    base = max(0, data.find(SIGNATURE))  # behind a user block
    _check_trees(data, base, _GROUPS, 8)
    _check_texts(data, base)


@lru_cache(maxsize=64)
def _check_chunks(path: Path, changed: int, ndim: int) -> None:
    data = path.read_bytes()
    _check_trees(data, max(0, data.find(SIGNATURE)), _CHUNKS, 8 + 8 * (ndim + 1))


def _check_trees(data: bytes, base: int, kind: int, key: int) -> None:
    """Check that each node above the leaves leads to nodes one level below it, and none to another's."""
    nodes = {found.start(): data[found.end()] for found in re.finditer(b"TREE%c" % kind, data[:-_NODE_BYTES])}
    reached, together = set[int](), 0
    for start, level in nodes.items():
        (count,) = struct.unpack_from("<H", data, start + 6)
        together += _NODE_BYTES + count * (key + 8)
        if together > len(data):
            raise FileFormatError("its trees share bytes; the file is damaged")
        if level == 0:
            continue
        for place in range(start + _NODE_BYTES + key, len(data) - 7, key + 8)[:count]:
            child = base + struct.unpack_from("<Q", data, place)[0]
            if child in nodes and (nodes[child] != level - 1 or child in reached):
                raise FileFormatError("a tree of its groups or chunks leads back to itself; the file is damaged")
            reached.add(child)


def _check_texts(data: bytes, base: int) -> None:
    """Check the length of each text: it is stored before the address of a heap, and the number of the text there."""
    heaps = [found.start() - base for found in re.finditer(rb"GCOL\x01", data)]
    for shift in range(4, min(12, len(data) - 12)):
        words = np.frombuffer(data, "<u8", (len(data) - shift - 4) // 8, shift)
        for place in np.flatnonzero(np.isin(words, heaps)).tolist():
            length, _, number = struct.unpack_from("<IQI", data, shift + 8 * place - 4)
            if length > _MOST_TEXT_BYTES and 0 < number < 1 << 16:
                raise FileFormatError(f"a text claims {length} bytes of {len(data)}; the file is damaged")
