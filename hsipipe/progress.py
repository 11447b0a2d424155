"""Progress bars with time left; silent when nobody watches."""

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
    """Moves a bar."""

    def __call__(self, n: int = 1, note: str = "", *, done: int | None = None, total: int | None = None) -> None:
        """Move the bar by `n`, or to `done`; replace the note behind it and, where it is given, the total."""
        ...


@contextmanager
def without_progress() -> Iterator[None]:
    """Show no bar while the body runs, for work beside which others go on in the same terminal."""
    token = _shown.set(True)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def progress(description: str, total: int, *, unit: Literal["", "bytes"] = "") -> Iterator[Advance]:
    """Show a bar on stderr while the body runs; a bar inside another one's body stays silent.

    Args:
        description: What is being done.
        total: How much there is to do.
        unit: "bytes" shows kB, MB, GB and the speed; otherwise numbers are counts.

    Yields:
        The function that moves the bar.
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
