"""Identify the files of a cube without reading them whole."""

import hashlib
import os
from pathlib import Path

from hsipipe.formats.recognise import companions

_ENDS_BYTES = 64 << 10


def source_digest(path: Path) -> str:
    """Return a digest of the files of a cube: of name, size, time of the last change, first and last 64 KiB of each.

    Raises:
        MissingInputError: `path` does not exist.
        FileFormatError: `path` is not a cube.
    """
    found = hashlib.sha256()
    for file in companions(path):
        state = file.stat()
        found.update(f"{os.path.relpath(file, path.parent)}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        with file.open("rb") as stream:
            found.update(stream.read(_ENDS_BYTES))
            stream.seek(max(0, state.st_size - _ENDS_BYTES))
            found.update(stream.read(_ENDS_BYTES))
    return found.hexdigest()
