"""Locks that die with their process (flock): no stale lock after a kill."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsipipe.errors import AlreadyRunningError


@contextmanager
def hold(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file at `path` while the body runs.

    Args:
        path: The lock file; made if missing, never removed.
        what: What is being done under it, for the message.

    Raises:
        AlreadyRunningError: Another process holds it.
    """
    with _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB, what=what):
        yield


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """As :func:`hold`, but wait until the other process is done; for short critical sections."""
    with _locked(path, fcntl.LOCK_EX, what=path.stem):
        yield


@contextmanager
def _locked(path: Path, mode: int, *, what: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, mode)
        except BlockingIOError as error:
            owner = path.read_text(encoding="utf-8").strip() or "unknown"
            raise AlreadyRunningError(
                f"{what} is already running (process {owner}); wait for it or end it, then start again."
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
