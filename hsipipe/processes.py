"""End a process together with its parent, even if the parent is killed."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals, *, parent: int | None = None) -> None:
    """Ask the kernel to send this process a signal when its parent dies, even by SIGKILL.

    This works on Linux only; on other systems the call has no effect and the caller needs another means.

    Args:
        number: SIGTERM to end with clean-up, SIGKILL without.
        parent: Process id of the parent; None: the current parent.
    """
    expected = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != expected:  # the parent died before the call
            os.kill(os.getpid(), number)
