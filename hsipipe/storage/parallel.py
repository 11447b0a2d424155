"""Independent pieces of work on all cores, as one Dask graph."""

from collections.abc import Callable, Iterable

from dask.base import compute
from dask.delayed import delayed


def run_all(pieces: Iterable[Callable[[], None]]) -> None:
    """Run pieces of work that write to places of their own; the first error is raised.

    Threads of this process by default; where a ``distributed.Client`` is active, its workers.
    """
    compute(*[delayed(piece)() for piece in pieces])  # type: ignore[no-untyped-call]  # dask gives no types here
