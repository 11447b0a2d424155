"""Run independent tasks on all cores or on a Dask cluster, as one Dask graph."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dask.base import compute
from dask.delayed import delayed
from dask.system import CPU_COUNT

from hsipipe.credentials import without_credentials
from hsipipe.errors import UnreachableError, one_line

if TYPE_CHECKING:
    from distributed import Client

ADDRESS = "DASK_SCHEDULER_ADDRESS"
_CONNECT_S = 10

_BUDGET = 1 << 29
"""Memory in bytes of all running tasks together, so that more cores do not exhaust the memory."""


def run_all(pieces: Iterable[Callable[[], None]], *, held_bytes: int = 0) -> None:
    """Run tasks that write to different places; the first error is raised.

    They run in threads of this process, or on the workers of the cluster at ``DASK_SCHEDULER_ADDRESS`` if it is set.

    Args:
        pieces: Tasks.
        held_bytes: Approximate memory of one task in bytes; it limits how many run at the same time.
    """
    tasks = [delayed(piece)() for piece in pieces]
    with cluster() as client:
        if client is None:
            compute(*tasks, num_workers=workers_within(held_bytes))
        else:
            client.gather(client.compute(tasks))


def workers_within(held_bytes: int, *, budget: int = _BUDGET) -> int:
    """Return the number of threads: at most one per core, as many as fit into the budget, at least one."""
    return max(1, min(CPU_COUNT, budget // max(1, held_bytes)))


def on_cluster() -> bool:
    """Return True where ``DASK_SCHEDULER_ADDRESS`` names a cluster."""
    return bool(os.environ.get(ADDRESS))


@contextmanager
def cluster() -> "Iterator[Client | None]":
    """Connect to the scheduler at ``DASK_SCHEDULER_ADDRESS``.

    The client is not Dask's default: lazy arrays are still computed in threads of this process.

    Yields:
        The client; None where the variable is not set.

    Raises:
        UnreachableError: No scheduler answers there.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        yield None
        return
    # Slow to import, and needed only on a cluster.
    from distributed import Client

    try:
        # Try the address first, because a client that fails to connect prints tracebacks later. Use a thread, because
        # a notebook already runs an event loop in this one.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(asyncio.run, _check_answers(address)).result()
    except (OSError, ValueError) as error:
        raise UnreachableError(
            f"No Dask scheduler answers at {ADDRESS}={without_credentials(address)}: {one_line(error)}. Start one with "
            "`dask scheduler`, correct the address, or unset the variable to work on this machine alone."
        ) from error
    with Client(address, set_as_default=False) as client:
        yield client


async def _check_answers(address: str) -> None:
    from distributed.comm.core import connect
    from distributed.security import Security

    comm = await connect(address, timeout=_CONNECT_S, **Security().get_connection_args("client"))
    await comm.close()
