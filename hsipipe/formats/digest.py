"""Identify the files of a cube without reading them whole."""

import hashlib
import os

from hsipipe.formats.recognise import companions
from hsipipe.storage.urls import Place, Url

_ENDS_BYTES = 64 << 10


def source_digest(path: Place) -> str:
    """Return a digest of the files of a cube: of name, size, time of the last change, first and last 64 KiB of each.

    Of a remote file it is that of address, size, first and last 64 KiB, and what the server says of its version; of a
    remote Zarr store, that of address and metadata: its chunks have no common version.

    Raises:
        MissingInputError: `path` does not exist.
        FileFormatError: `path` is not a cube.
    """
    if isinstance(path, Url):
        return _remote_digest(path)
    found = hashlib.sha256()
    for file in companions(path):
        state = file.stat()
        found.update(f"{os.path.relpath(file, path.parent)}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        with file.open("rb") as stream:
            found.update(stream.read(_ENDS_BYTES))
            stream.seek(max(0, state.st_size - _ENDS_BYTES))
            found.update(stream.read(_ENDS_BYTES))
    return found.hexdigest()


def _remote_digest(url: Url) -> str:
    # What reads the network is slow to import, and seldom needed.
    from hsipipe.formats.recognise import recognise_url
    from hsipipe.formats.zarr_remote import metadata_bytes
    from hsipipe.storage.ranges import read_range, state_of

    found = hashlib.sha256(f"{url}\0".encode())
    if recognise_url(url).is_folder:
        found.update(metadata_bytes(url))
        return found.hexdigest()
    state = state_of(url)
    found.update(f"{state.size}\0{state.tag}\0".encode())
    for start in (0, max(0, state.size - _ENDS_BYTES)):
        found.update(read_range(url, start, min(start + _ENDS_BYTES, state.size), tag=state.tag))
    return found.hexdigest()
