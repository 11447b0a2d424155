"""Processes that end with the one that started them, however that one ends."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals, *, parent: int | None = None) -> None:
    """Have the kernel send this process the signal `number` when its parent dies, even by SIGKILL.

    Linux alone can do it; elsewhere nothing happens, and whoever calls needs a second way.

    Args:
        number: SIGTERM to end in good order, SIGKILL where there is nothing to put in order.
        parent: Number of the parent, where it is known; None: whoever is the parent now.
    """
    expected = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != expected:  # it died before the kernel knew
            os.kill(os.getpid(), number)
