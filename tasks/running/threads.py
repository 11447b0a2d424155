"""How long OpenMP's threads spin at a barrier before they sleep, by how busy the machine is."""

import os
from collections.abc import MutableMapping

import psutil

PATIENT, SHORT = "10000", "1000"
"""Rounds of spinning where the cores are free, and where they are shared."""
_LOOK_S = 0.2
_SHARED = 0.5
"""Cores that other processes use, from which on the machine counts as shared."""


def set_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell OpenMP how long to spin; call it before the first import of torch.

    A thread that spins burns a core that another process could use, and waits for a sibling that has none. A thread
    that sleeps wakes late, which costs a training of small images a third of its speed (benchmarks/busy.py). The number
    of threads stays: another one would change the bits of a training that resumes. What the user has set stays, too.
    """
    if "GOMP_SPINCOUNT" in environment or "OMP_WAIT_POLICY" in environment:
        return
    environment["GOMP_SPINCOUNT"] = SHORT if cores_in_use() > _SHARED else PATIENT


def cores_in_use() -> float:
    """Cores that other processes use at the moment, of those that this process may use."""
    shares = psutil.cpu_percent(interval=_LOOK_S, percpu=True)
    # macOS does not tell which cores a process may use, and gives it all.
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(shares))
    return sum(shares[core] for core in mine if core < len(shares)) / 100
