"""Set how long OpenMP threads spin at a barrier before they sleep, depending on the load of the machine."""

import os
from collections.abc import MutableMapping

import psutil

PATIENT, SHORT = "30000", "1000"
"""Rounds of spinning on a free machine and on a shared one."""
_LOOK_S = 0.2
_SHARED = 0.5
"""Number of cores used by other processes above which the machine counts as shared."""


def set_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the spin count of OpenMP; call it before the first import of torch.

    A spinning thread occupies a core that another process could use, and waits for a sibling that has no core. A
    sleeping thread wakes late, which slows down a training of small images by a third (benchmarks/busy.py). The number
    of threads does not change, since that would change the bits of a resumed training. Settings of the user take
    precedence.
    """
    if "GOMP_SPINCOUNT" in environment or "OMP_WAIT_POLICY" in environment:
        return
    environment["GOMP_SPINCOUNT"] = SHORT if cores_in_use() > _SHARED else PATIENT


def cores_in_use() -> float:
    """Measure the number of cores in use, among those that this process may use."""
    shares = psutil.cpu_percent(interval=_LOOK_S, percpu=True)
    # macOS has no CPU affinity, so a process may use all cores.
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(shares))
    return sum(shares[core] for core in mine if core < len(shares)) / 100
