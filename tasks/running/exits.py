"""End a command: one line for an error that the user can fix, a traceback for a bug."""

import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from hsipipe.credentials import without_credentials
from hsipipe.errors import AlreadyRunningError, HsipipeError, TrainingPausedError, one_line

ALREADY_RUNNING = 75
"""Exit code while another process holds the lock; EX_TEMPFAIL of sysexits.h."""
PAUSED = 85
"""Exit code when the time limit has passed and the same command resumes; HTCondor's convention for a checkpoint."""

_FULL = re.compile(r"no space left on device|disk is full|disk quota exceeded|os error 28\b", re.IGNORECASE)
_READ_ONLY = re.compile(r"read-only file ?system|readonly database|os error 30\b", re.IGNORECASE)


def machine_trouble(error: BaseException) -> str | None:
    """Explain an error of a full or write-protected disk and how to fix it; return None for any other error.

    Libraries wrap the system's error in their own, so the whole chain is searched.
    """
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        said = one_line(seen)
        if number in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(said):
            return f"The disk is full: {said}. Nothing was published; free some space, then run the same command again."
        if number == errno.EROFS or _READ_ONLY.search(said):
            return f"A file cannot be written: {said}. Make its folder writable, then run the same command again."
        if number in (errno.EACCES, errno.EPERM):
            return f"Access to a file is denied: {said}. Grant it to this user, then run the same command again."
        seen = seen.__cause__ or seen.__context__
    return None


def guarded(body: Callable[[], object]) -> int:
    """Run a command and return its exit code.

    With ``HSIPIPE_DEBUG=1`` every error has its traceback.
    """
    try:
        body()
    except HsipipeError as error:
        if os.environ.get("HSIPIPE_DEBUG") == "1":
            sys.excepthook = show
            raise
        paused = isinstance(error, TrainingPausedError)
        line = without_credentials(one_line(error))
        print(line if paused else f"error: {line}", file=sys.stderr)
        return PAUSED if paused else ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else 1
    except Exception as error:
        trouble = machine_trouble(error)
        if trouble is None or os.environ.get("HSIPIPE_DEBUG") == "1":
            sys.excepthook = show
            raise
        print(f"error: {without_credentials(trouble)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def show(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print a traceback as Python does, with the credentials of addresses removed."""
    print(without_credentials("".join(traceback.format_exception(error))), end="", file=sys.stderr)
