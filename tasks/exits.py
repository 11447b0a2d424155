"""How a command ends: one clear line for what a person can mend, a traceback for what is a bug."""

import os
import signal
import sys
from collections.abc import Callable

from hsipipe.errors import AlreadyRunningError, HsipipeError

ALREADY_RUNNING = 75
"""Exit code when another process does the same; EX_TEMPFAIL of sysexits.h: try again later."""


def guarded(body: Callable[[], object]) -> int:
    """Run a command and give its exit code.

    ``HSIPIPE_DEBUG=1`` shows the traceback of an :class:`HsipipeError` too.
    """
    try:
        body()
    except HsipipeError as error:
        if os.environ.get("HSIPIPE_DEBUG") == "1":
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0
