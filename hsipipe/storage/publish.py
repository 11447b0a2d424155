"""Atomic publication: a folder or file appears under its name complete, or not at all.

Work is done in a hidden sibling, ``.<name>.tmp``, is forced to disk and then renamed. A folder has one writer at a
time: it holds a lock on ``.<name>.lock``, which the kernel gives back however the process ends. What a killed writer
leaves behind, the next one of the same name removes.
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
        AlreadyRunningError: Another writer, of this process or another one, works on the same path.
    """
    with atomic_folder(path) as temporary:
        yield temporary
        write_manifest(temporary)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As :func:`publish`, without a manifest: for folders that are a format of their own (``x.zarr``)."""
    path = _absolute(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _sole_writer(path):
        temporary = _sibling(path, "tmp")
        _restore(path)
        _remove(temporary)
        temporary.mkdir()
        try:
            yield temporary
            _sync_tree(temporary)
            _replace_folder(temporary, path)
        except BaseException:
            _remove(temporary)
            raise


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a temporary file; when the body ends well, it becomes `path`.

    Yields:
        Where to write. Nothing is there yet.
    """
    path = _absolute(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up_files(path)
    # Of this process alone: two may write one small file, and the last one wins with a whole file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
    return path.with_name(f".{path.name}.{kind}")


@contextmanager
def _sole_writer(path: Path) -> Iterator[None]:
    lock = _sibling(path, "lock")
    handle = _lock(lock)
    if handle is None:
        raise AlreadyRunningError(
            f"{path} is being written by another process, or elsewhere in this one (lock {lock}); wait until that is "
            "done, or end it."
        )
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it in the meantime sees that it is no longer the one under this name.
        lock.unlink(missing_ok=True)
        os.close(handle)


def _lock(lock: Path) -> int | None:
    """An open handle that holds the lock, or None where somebody else does."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        try:
            current = os.path.samestat(os.fstat(handle), os.stat(lock))
        except FileNotFoundError:
            current = False
        if current:
            return handle
        os.close(handle)


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


def _restore(path: Path) -> None:
    old = _sibling(path, "old")
    if os.path.lexists(old) and not os.path.lexists(path):
        os.rename(old, path)  # killed between the two renames: the old output is still the valid one
    _remove(old)


def _clean_up_files(path: Path) -> None:
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.tmp")
    for entry in sorted(path.parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match and not psutil.pid_exists(int(match[1])) and not entry.is_dir():
            entry.unlink(missing_ok=True)


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
