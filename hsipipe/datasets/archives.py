"""Unpack untrusted archives: zip and tar.gz.

The standard library does not check everything that matters here: links, devices, absolute paths, ``..`` and the true
unpacked size, which the headers of a decompression bomb understate. Owners and permissions are discarded.
"""

import errno
import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hsipipe.errors import FileFormatError
from hsipipe.progress import progress

MAX_BYTES = 64 << 30
MAX_FILES = 100_000
_STEP = 1 << 20
_TAR = (".tar.gz", ".tgz")
# Exceptions of the readers on damaged bytes.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
# Causes on the local disk rather than in the archive.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def folder_name(file_name: str) -> str | None:
    """Return the name of the folder that an archive unpacks to, or None if the file is no archive."""
    for suffix in (".zip", *_TAR):
        if file_name.lower().endswith(suffix):
            return file_name[: -len(suffix)]
    return None


def unpack(
    path: Path, into: Path, *, name: str, kind: str, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> None:
    """Unpack an archive into an existing, empty folder.

    Args:
        path: The archive.
        into: The folder.
        name: Name of the archive in messages.
        kind: File name as published, which tells zip from tar; `path` may have another suffix.
        max_bytes: Limit of the unpacked size in bytes.
        max_files: Limit of the number of files.

    Raises:
        FileFormatError: The file is not such an archive, is damaged or too large, or an entry is a link or lies
            outside the folder. The caller removes the files unpacked so far.
        OSError: The disk is full, or the folder is not writable.
    """
    if kind.lower().endswith(_TAR):
        unpack_tar(path, into, name=name, max_bytes=max_bytes, max_files=max_files)
    else:
        unpack_zip(path, into, name=name, max_bytes=max_bytes, max_files=max_files)


def check_zip(
    path: Path, *, name: str | None = None, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> list[zipfile.ZipInfo]:
    """Check the table of contents of a zip file.

    Args:
        path: The archive.
        name: Name of the archive in messages; default the file name.
        max_bytes: Limit of the unpacked size in bytes.
        max_files: Limit of the number of files.

    Returns:
        Entries of the files, without folders.

    Raises:
        FileFormatError: The file is no zip file, is too large, or an entry is a link or lies outside the folder.
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
        _check_name(name, entry.filename)
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise FileFormatError(f"{name} is refused: the entry {entry.filename!r} is a link or a device.")
    return [entry for entry in entries if not entry.is_dir()]


def unpack_zip(
    path: Path, into: Path, *, name: str | None = None, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> None:
    """Unpack a zip file; arguments and errors as in :func:`unpack`."""
    name = name or path.name
    entries = check_zip(path, name=name, max_bytes=max_bytes, max_files=max_files)
    left = max_bytes
    with (
        zipfile.ZipFile(path) as archive,
        progress("unpack", total=sum(e.compress_size for e in entries), unit="bytes") as advance,
    ):
        for entry in entries:
            try:
                with archive.open(entry) as source:
                    left -= _write(source, into / entry.filename, min(left, entry.file_size))
            except FileFormatError as error:
                raise FileFormatError(f"{name}: {entry.filename} {error}") from error
            except _DAMAGE as error:
                if _is_disk_error(error):
                    raise
                raise FileFormatError(f"{name}: {entry.filename} is damaged: {error}") from error
            advance(entry.compress_size)


def unpack_tar(
    path: Path, into: Path, *, name: str | None = None, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> None:
    """Unpack a tar file under gzip; arguments and errors as in :func:`unpack`."""
    name = name or path.name
    try:
        with (
            path.open("rb") as raw,
            progress("unpack", total=path.stat().st_size, unit="bytes") as advance,
            _Inflated(raw, name=name, max_bytes=max_bytes + max_files * 4 * tarfile.BLOCKSIZE + _STEP) as inflated,
        ):
            _unpack_members(inflated, into, (name, max_bytes, max_files), lambda: advance(done=raw.tell()))
    except FileFormatError:
        raise
    except _DAMAGE as error:
        if _is_disk_error(error):
            raise
        raise FileFormatError(f"{name} is no tar.gz file, is truncated or damaged: {error}") from error


def _unpack_members(inflated: "_Inflated", into: Path, limits: tuple[str, int, int], tick: Callable[[], None]) -> None:
    name, left, max_files = limits
    max_bytes = left
    with tarfile.open(fileobj=inflated, mode="r:") as archive:
        for count, member in enumerate(archive, start=1):
            if count > max_files:
                raise FileFormatError(f"{name} holds more than the {max_files} files allowed.")
            if member.isdir() and not PurePosixPath(member.name).parts:
                continue  # "./", the first entry of many archives
            _check_name(name, member.name)
            if not (member.isdir() or (member.isreg() and not member.issparse())):
                raise FileFormatError(f"{name} is refused: the entry {member.name!r} is a link or a device.")
            if member.size > left:
                raise FileFormatError(f"{name} unpacks to more than the {max_bytes} bytes allowed.")
            if member.isreg() and (source := archive.extractfile(member)) is not None:
                written = _write(source, into / member.name, member.size)
                if written < member.size:
                    raise FileFormatError(f"{name} is truncated in {member.name}.")
                left -= written
            tick()
    while inflated.read(_STEP):  # to the end of the stream, where gzip stores its checksum
        pass


class _Inflated(gzip.GzipFile):
    """A gzip stream with a limit on its total size and on the size of one read.

    tarfile reads a header in one go, whatever size the archive claims for it.
    """

    def __init__(self, raw: IO[bytes], *, name: str, max_bytes: int) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._archive, self._max_bytes = name, max_bytes

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _STEP:
            raise FileFormatError(f"{self._archive} holds a header of {size} bytes, more than the {_STEP} allowed")
        if self.tell() > self._max_bytes:
            raise FileFormatError(f"{self._archive} unpacks to more than the {self._max_bytes} bytes allowed")
        return super().read(size)


def _is_disk_error(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK


def _check_name(archive: str, name: str) -> None:
    parts = PurePosixPath(name).parts
    outside = name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name
    if outside or not parts:
        raise FileFormatError(f"{archive} is refused: the entry {name!r} would lie outside the folder.")


def _write(source: IO[bytes] | Any, target: Path, size: int) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("xb") as sink:
        while block := source.read(_STEP):
            written += len(block)
            if written > size:
                raise FileFormatError("unpacks to more bytes than its header says.")
            sink.write(block)
    return written
