"""Locks that end with their process: a killed process leaves no stale lock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hsipipe.errors import AlreadyRunningError

_FOREVER = -1.0


@contextmanager
def hold(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file at `path` while the body runs.

    Args:
        path: Lock file, created if missing and never removed; it contains the process id of its last holder.
        what: Subject of the error message.

    Raises:
        AlreadyRunningError: Another process or thread holds the lock.
    """
    with _locked(path, 0.0, what=what):
        yield


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """As :func:`hold`, but wait for the other process; for short critical sections."""
    with _locked(path, _FOREVER, what=path.stem):
        yield


@contextmanager
def _locked(path: Path, timeout_s: float, *, what: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path).acquire(timeout=timeout_s)
    except Timeout as error:
        owner = path.read_text(encoding="utf-8").strip() or "unknown"
        raise AlreadyRunningError(
            f"{what} is already running (process {owner}); wait for it or stop it, then try again."
        ) from error
    with lock:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
