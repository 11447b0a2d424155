"""Independent pieces of work on all cores, as one Dask graph."""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dask.base import compute
from dask.delayed import delayed


def run_all(pieces: Iterable[Callable[[], None]]) -> None:
    """Run pieces of work that write to places of their own; the first error is raised.

    Threads of this process by default; the workers of the cluster at ``DASK_SCHEDULER_ADDRESS`` if that is set.
    """
    with _cluster():
        compute(*[delayed(piece)() for piece in pieces])


def _cluster() -> AbstractContextManager[Any]:
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address:
        return nullcontext()
    # Slow to import, and needed on a cluster alone.
    from distributed import Client

    return Client(address)  # type: ignore[no-untyped-call]
