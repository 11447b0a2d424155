"""Publish folders and files atomically: a path appears complete or not at all.

The output is written to a hidden sibling, ``.<name>.tmp``, synced to disk and renamed. A folder has one writer at a
time: it holds a lock on ``.<name>.lock``, which the kernel releases when the process ends, even if it is killed. The
next writer of the same path removes the leftovers of a killed one.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from hsipipe.errors import AlreadyRunningError
from hsipipe.storage.manifest import write_manifest

_LONGEST = 240
"""Longest name in bytes that leaves space for the affixes of a hidden sibling; file systems allow 255."""


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Fill a temporary folder that becomes `path`, with a ``MANIFEST.json``, when the body succeeds.

    On an error the temporary folder is removed and `path` is unchanged.

    Yields:
        The empty temporary folder.

    Raises:
        AlreadyRunningError: Another writer, in this or another process, holds the lock of `path`.
    """
    with atomic_folder(path) as temporary:
        yield temporary
        write_manifest(temporary)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As :func:`publish`, but without a manifest, for folders that are a file format (``x.zarr``)."""
    path = _absolute(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sole_writer(path):
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
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Hold the lock of `path` and yield a hidden sibling for its parts, which outlives an error and a kill.

    Remove it by :func:`discard` once `path` is complete.

    Yields:
        The folder, ``.<name>.part``, with the parts of an earlier run.

    Raises:
        AlreadyRunningError: Another writer, in this or another process, holds the lock of `path`.
    """
    path = _absolute(path)
    with sole_writer(path):
        folder = unfinished(path)
        folder.mkdir(exist_ok=True)
        yield folder


def unfinished(path: Path) -> Path:
    """Return the folder of the parts of `path`, see :func:`unfinished_folder`."""
    return _sibling(_absolute(path), "part")


def publish_folder(folder: Path, path: Path) -> None:
    """Move a complete folder to `path` on the same disk, in the place of what is there."""
    path = _absolute(path)
    _restore(path)
    _sync_tree(folder)
    _replace_folder(folder, path)


def discard(folder: Path) -> None:
    """Remove a folder with all that is in it."""
    _remove(folder)


def publish_file(file: Path, path: Path, *, beside: Sequence[str] = ()) -> None:
    """Move a complete file to `path` on the same disk, in the place of what is there.

    Args:
        file: The file.
        path: Its final name.
        beside: Suffixes, added to both names, of files that belong to it. They are moved before it, so that `path` is
            never there without them.
    """
    path = _absolute(path)
    # After a kill in between, the files beside it were moved, and the old file is gone.
    before = () if path.exists() else [suffix for suffix in beside if _with(path, suffix).exists()]
    moved = [suffix for suffix in (*beside, "") if suffix not in before or _with(file, suffix).exists()]
    for suffix in moved:
        _sync(_with(file, suffix))
    if beside:  # an old file must not get the new files beside it
        path.unlink(missing_ok=True)
    for suffix in moved:
        os.replace(_with(file, suffix), _with(path, suffix))
    _sync(path.parent)


@contextmanager
def atomic_file(path: Path, *, beside: Sequence[str] = ()) -> Iterator[Path]:
    """Write a temporary file that becomes `path` when the body succeeds.

    Args:
        path: The file.
        beside: Suffixes of files that the body writes, too; see :func:`publish_file`.

    Yields:
        The path to write to; it does not exist yet.
    """
    path = _absolute(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up_files(path)
    # The name holds the process id: two processes may write the same file, and the last complete one remains.
    temporary = path.with_name(f".{_short(path.name)}.{os.getpid()}.tmp")
    try:
        yield temporary
        publish_file(temporary, path, beside=beside)
    finally:
        for suffix in ("", *beside):
            _with(temporary, suffix).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync_file(path: Path, *, within: Path) -> None:
    """Write a file to the disk, with the entries of its folders up to `within`, so that it outlives a power loss."""
    _sync(path)
    for folder in path.parents:
        _sync(folder)
        if folder == within or not folder.is_relative_to(within):
            return


def _absolute(path: Path) -> Path:
    # Not resolve(): a link at `path` is replaced, not its target.
    return Path(os.path.abspath(path))


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sibling(path: Path, kind: str) -> Path:
    return path.with_name(f".{_short(path.name)}.{kind}")


def _short(name: str) -> str:
    """Return the name, or a digest of a name that is too long for a sibling."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else hashlib.sha256(encoded).hexdigest()[:32]


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, which ends with the process, while the body runs.

    Raises:
        AlreadyRunningError: Another writer, in this or another process, holds it.
    """
    # Retried for a moment: the previous writer may remove the file between opening and locking it here.
    lock = FileLock(_sibling(path, "lock"), timeout=0.2, poll_interval=0.02)
    try:
        lock.acquire()
    except Timeout as error:
        raise AlreadyRunningError(
            f"{path} is being written by another process, or elsewhere in this one (lock {lock.lock_file}); wait until "
            "it finishes, or stop it."
        ) from error
    try:
        yield
    finally:
        # Removed while the lock is held: a writer that has opened the file already detects that it was unlinked.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _replace_folder(new: Path, path: Path) -> None:
    # A folder cannot be renamed over a folder that is not empty, so the old one is moved first.
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
        os.rename(old, path)  # killed between the two renames: the old output is still valid
    _remove(old)


def _clean_up_files(path: Path) -> None:
    pattern = re.compile(re.escape(f".{_short(path.name)}.") + r"(\d+)\.tmp(\.\w+)?")
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
