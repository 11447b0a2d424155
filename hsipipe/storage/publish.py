"""Atomic publication: a folder or file appears under its name complete, or not at all.

Work is done in a hidden sibling, ``.<name>.<pid>.tmp``, is forced to disk and then renamed. A killed
process leaves such a sibling behind; the next publication of the same name removes it.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from hsipipe.errors import AlreadyRunningError
from hsipipe.storage.manifest import write_manifest


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Fill a temporary folder; when the body ends well, it becomes `path` with its ``MANIFEST.json``.

    On an error the temporary folder is removed and what stood at `path` stays as it was.

    Yields:
        The empty temporary folder.

    Raises:
        AlreadyRunningError: Another writer in this process works on the same path.
    """
    with atomic_folder(path) as temporary:
        yield temporary
        write_manifest(temporary)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As :func:`publish`, without a manifest: for folders that are a format of their own (``x.zarr``)."""
    path = _absolute(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(path)
    temporary = _sibling(path, "tmp")
    try:
        temporary.mkdir()
    except FileExistsError as error:
        raise AlreadyRunningError(
            f"{path} is being written by this process already; publish it once at a time."
        ) from error
    lock = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        _sync_tree(temporary)
        _replace_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(lock)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a temporary file; when the body ends well, it becomes `path`.

    Yields:
        Where to write. Nothing is there yet.
    """
    path = _absolute(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(path)
    temporary = _sibling(path, "tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _absolute(path: Path) -> Path:
    # Not resolve(): a link that stands at `path` is replaced, not what it points at.
    return Path(os.path.abspath(path))


def _sibling(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{kind}")


def _replace_folder(new: Path, path: Path) -> None:
    # A folder cannot be renamed over a folder that holds something, so the old one steps aside first.
    old = _sibling(path, "old")
    had_old = os.path.lexists(path)
    if had_old:
        os.rename(path, old)
    try:
        os.rename(new, path)
    except BaseException:
        if had_old:
            os.rename(old, path)
        raise
    _sync(path.parent)
    _remove(old)


def _clean_up(path: Path) -> None:
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.(tmp|old)")
    for entry in sorted(path.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match is None or not _is_abandoned(entry, int(match[1])):
            continue
        if match[2] == "old" and not os.path.lexists(path):
            os.rename(entry, path)  # killed between the two renames: the old output is still the valid one
        else:
            _remove(entry)


def _is_abandoned(entry: Path, pid: int) -> bool:
    if pid != os.getpid() and psutil.pid_exists(pid):
        return False
    if entry.is_symlink() or not entry.is_dir():
        return pid != os.getpid()
    # Our own number may be that of a process that died long ago; a living writer holds the lock.
    handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _remove(entry: Path) -> None:
    if entry.is_symlink() or entry.is_file():
        entry.unlink()
    else:
        shutil.rmtree(entry, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for name in files:
            _sync(Path(root) / name)
        _sync(Path(root))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
