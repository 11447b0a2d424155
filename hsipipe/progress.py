"""Progress bars with the remaining time, on terminals only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_shown: ContextVar[bool] = ContextVar("shown", default=False)


class Advance(Protocol):
    """Advances a progress bar."""

    def __call__(self, n: int = 1, note: str = "", *, done: int | None = None, total: int | None = None) -> None:
        """Advance the bar by `n`, or to `done`; replace its note and, if given, the total."""
        ...


@contextmanager
def without_progress() -> Iterator[None]:
    """Suppress bars while the body runs, for concurrent work in the same terminal."""
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def progress(description: str, total: int, *, unit: Literal["", "bytes"] = "") -> Iterator[Advance]:
    """Show a bar on stderr while the body runs; nested bars are not shown.

    Args:
        description: Label of the bar.
        total: Number of steps, or bytes.
        unit: "bytes" shows kB, MB, GB and the speed; otherwise the bar shows counts.

    Yields:
        Function that advances the bar.
    """
    counts: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
    if unit == "bytes":
        counts = (DownloadColumn(), TransferSpeedColumn())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    silent = _shown.get() or not sys.stderr.isatty()
    token = _shown.set(True)
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(n: int = 1, note: str = "", *, done: int | None = None, total: int | None = None) -> None:
            if done is None:
                bar.update(task, advance=n, note=note, total=total)
            else:
                bar.update(task, completed=done, note=note, total=total)

        try:
            yield advance
        finally:
            _shown.reset(token)
