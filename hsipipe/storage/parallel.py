"""Run independent tasks on all cores or on a Dask cluster, as one Dask graph."""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dask.base import compute
from dask.delayed import delayed
from dask.system import CPU_COUNT

_BUDGET = 1 << 29
"""Memory in bytes of all running tasks together, so that more cores do not exhaust the memory."""


def run_all(pieces: Iterable[Callable[[], None]], *, held_bytes: int = 0) -> None:
    """Run tasks that write to different places; the first error is raised.

    They run in threads of this process, or on the workers of the cluster at ``DASK_SCHEDULER_ADDRESS`` if it is set.

    Args:
        pieces: Tasks.
        held_bytes: Approximate memory of one task in bytes; it limits how many run at the same time.
    """
    with _cluster() as client:
        threads = {} if client else {"num_workers": workers_within(held_bytes)}
        compute(*[delayed(piece)() for piece in pieces], **threads)


def workers_within(held_bytes: int, *, budget: int = _BUDGET) -> int:
    """Return the number of threads: at most one per core, as many as fit into the budget, at least one."""
    return max(1, min(CPU_COUNT, budget // max(1, held_bytes)))


def _cluster() -> AbstractContextManager[Any]:
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address:
        return nullcontext()
    # Slow to import, and needed only on a cluster.
    from distributed import Client

    return Client(address)  # type: ignore[no-untyped-call]
