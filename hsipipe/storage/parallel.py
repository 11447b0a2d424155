"""Independent pieces of work on all cores, as one Dask graph."""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dask.base import compute
from dask.delayed import delayed
from dask.system import CPU_COUNT

_BUDGET = 1 << 29
"""Bytes that the pieces at work may hold together: more cores must not need more memory than a machine has."""


def run_all(pieces: Iterable[Callable[[], None]], *, held_bytes: int = 0) -> None:
    """Run pieces of work that write to places of their own; the first error is raised.

    Threads of this process by default; the workers of the cluster at ``DASK_SCHEDULER_ADDRESS`` if that is set.

    Args:
        pieces: What is to be done.
        held_bytes: What one piece holds in memory, roughly; few large pieces are at work at a time.
    """
    with _cluster() as client:
        threads = {} if client else {"num_workers": workers_within(held_bytes)}
        compute(*[delayed(piece)() for piece in pieces], **threads)


def workers_within(held_bytes: int, *, budget: int = _BUDGET) -> int:
    """As many threads as there are cores, or as pieces of this size fit into the budget; at least one."""
    return max(1, min(CPU_COUNT, budget // max(1, held_bytes)))


def _cluster() -> AbstractContextManager[Any]:
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address:
        return nullcontext()
    # Slow to import, and needed on a cluster alone.
    from distributed import Client

    return Client(address)  # type: ignore[no-untyped-call]
