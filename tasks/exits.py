"""How a command ends: one clear line for what a person can mend, a traceback for what is a bug."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from hsipipe.credentials import without_credentials
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
            sys.excepthook = show
            raise
        print(f"error: {without_credentials(' '.join(str(error).split()))}", file=sys.stderr)
        return ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception:
        sys.excepthook = show
        raise
    return 0


def show(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print a traceback as Python does, without the credentials of addresses in it."""
    print(without_credentials("".join(traceback.format_exception(error))), end="", file=sys.stderr)
