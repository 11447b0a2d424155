"""Progress bars with time left; silent when nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_shown: ContextVar[bool] = ContextVar("shown", default=False)


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a bar on stderr while the body runs; a bar inside another one's body stays silent.

    Yields:
        ``advance(n=1, note="")``: moves the bar and replaces the note behind it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    silent = _shown.get() or not sys.stderr.isatty()
    token = _shown.set(True)
    with Progress(*columns, console=console, transient=True, disable=silent) as bar:
        task = bar.add_task(description, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            bar.update(task, advance=n, note=note)

        try:
            yield advance
        finally:
            _shown.reset(token)
