"""Progress with the remaining time: a bar on a terminal, else a line in the log now and then."""

import logging
import sys
import time
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

logger = logging.getLogger(__name__)

EVERY_S = 30.0
"""Seconds between two lines of the log."""
_NEXT_S = 1.0
"""The same for notable progress, such as a validation."""

_shown: ContextVar[bool] = ContextVar("shown", default=False)


class Advance(Protocol):
    """Advances a progress bar."""

    def __call__(
        self,
        n: int = 1,
        note: str = "",
        *,
        done: int | None = None,
        total: int | None = None,
        notable: bool = False,
    ) -> None:
        """Advance the bar by `n`, or to `done`; replace its note and, if given, the total.

        Without a terminal, notable progress has its line in the log at once.
        """
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
    """Show a bar on stderr while the body runs; without a terminal, log a line every 30 s. Nested ones are not shown.

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
    lines = None if _shown.get() or sys.stderr.isatty() else _Lines(description, total, unit)
    token = _shown.set(True)
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(
            n: int = 1,
            note: str = "",
            *,
            done: int | None = None,
            total: int | None = None,
            notable: bool = False,
        ) -> None:
            if lines is not None:
                lines.advance(n if done is None else done - lines.done, note, total=total, notable=notable)
            if done is None:
                bar.update(task, advance=n, note=note, total=total)
            else:
                bar.update(task, completed=done, note=note, total=total)

        try:
            yield advance
        finally:
            _shown.reset(token)


class _Lines:
    """Progress as lines of the log."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        self.done = 0
        self._description, self._total, self._unit = description, total, unit
        self._begun: tuple[float, int] | None = None
        self._last = time.monotonic()

    def advance(self, n: int, note: str, *, total: int | None, notable: bool) -> None:
        """Count, and log a line if it is time for one."""
        now = time.monotonic()
        self._total = self._total if total is None else total
        self.done += n
        if self._begun is None:  # a training that resumes has taken its first steps before
            self._begun = (now, self.done)
        if now - self._last < (_NEXT_S if notable else EVERY_S):
            return
        self._last = now
        parts = [f"{self._description}: {self._count()}", self._left(now), note.strip()]
        logger.info(", ".join(filter(None, parts)))

    def _count(self) -> str:
        if self._unit:
            return f"{self.done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
        return f"{self.done} of {self._total}"

    def _left(self, now: float) -> str:
        since, first = self._begun or (now, self.done)
        if self.done <= first or self.done >= self._total:
            return ""
        return f"{duration((now - since) / (self.done - first) * (self._total - self.done))} left"


def duration(seconds: float) -> str:
    """Format a duration for people.

    >>> duration(4.2), duration(64), duration(7500)
    ('4.2 s', '1 min 4 s', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
