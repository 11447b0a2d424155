"""Unpacking of archives from outside.

Checked here and not left to the standard library: links, absolute paths, ``..``, and the true size, which
the headers of a zip bomb understate.
"""

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

from hsipipe.errors import FileFormatError

MAX_BYTES = 64 << 30
MAX_FILES = 100_000
_STEP = 1 << 20


def check_zip(
    path: Path, *, name: str | None = None, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> list[zipfile.ZipInfo]:
    """Check the table of contents of a zip file.

    Args:
        path: The file.
        name: What messages call it; default its own name.
        max_bytes: Refused if it unpacks to more.
        max_files: Refused if it holds more.

    Returns:
        Its files (folders are left out).

    Raises:
        FileFormatError: It is no zip file, is too large, or a name reaches out of the folder.
    """
    name = name or path.name
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise FileFormatError(f"{name} is no zip file or is truncated: {error}") from error
    if len(entries) > max_files:
        raise FileFormatError(f"{name} holds {len(entries)} files, more than the {max_files} allowed.")
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes:
        raise FileFormatError(f"{name} unpacks to {total} bytes, more than the {max_bytes} allowed.")
    for entry in entries:
        _check_entry(name, entry)
    return [entry for entry in entries if not entry.is_dir()]


def unpack_zip(
    path: Path, into: Path, *, name: str | None = None, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> None:
    """Unpack a zip file into an existing folder; arguments as in :func:`check_zip`.

    Raises:
        FileFormatError: See :func:`check_zip`; or an entry is damaged.
    """
    name = name or path.name
    entries = check_zip(path, name=name, max_bytes=max_bytes, max_files=max_files)
    left = max_bytes
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            target = into / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                left -= _unpack_entry(archive, entry, target, left)
            except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
                if isinstance(error, FileFormatError):
                    raise
                raise FileFormatError(f"{name}: {entry.filename} is damaged: {error}") from error


def _check_entry(archive: str, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = PurePosixPath(name).parts
    outside = name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name
    if outside or not parts:
        raise FileFormatError(f"{archive} is refused: the entry {name!r} would lie outside the folder.")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise FileFormatError(f"{archive} is refused: the entry {name!r} is a link or a device.")


def _unpack_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int) -> int:
    written = 0
    with archive.open(entry) as source, target.open("xb") as sink:
        while block := source.read(_STEP):
            written += len(block)
            if written > min(left, entry.file_size):
                raise FileFormatError(f"{entry.filename} unpacks to more bytes than its header says.")
            sink.write(block)
    return written
