"""End a command: one line for an error that the user or the machine can fix, a traceback for a bug."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from hsipipe.credentials import without_credentials
from hsipipe.errors import AlreadyRunningError, FileFormatError, HsipipeError, TrainingPausedError, one_line
from hsipipe.machine import machine_trouble

ALREADY_RUNNING = 75
"""Exit code while another process holds the lock; EX_TEMPFAIL of sysexits.h."""
NOTHING_BETTER = 3
"""Exit code when a result is written that is no better than interpolation."""
PAUSED = 85
"""Exit code when the time limit has passed and the same command resumes; HTCondor's convention for a checkpoint."""

_ADVICE = {
    "disk": "The disk is full: {}. Nothing was published; free some space, then run the same command again.",
    "read-only": "A file cannot be written: {}. Make its folder writable, then run the same command again.",
    "access": "Access to a file is denied: {}. Grant it to this user, then run the same command again.",
    "memory": "The memory does not suffice: {}. Nothing was published; free some memory, or choose smaller tiles or "
    "batches, then run the same command again.",
    "device": "The machine cannot read or write a file: {}. Look at its disk and limits, then run the same command "
    "again.",
}


def machine_advice(error: BaseException) -> str | None:
    """Explain an error of the machine, such as a full disk, and how to fix it; return None for any other error."""
    found = machine_trouble(error)
    return None if found is None else _ADVICE[found[0]].format(found[1])


def reason(error: Exception) -> object:
    """Return what to tell of an error: its own message, or the cause where the machine made a file look damaged."""
    is_ours = isinstance(error, HsipipeError) and not isinstance(error, FileFormatError)
    advice = None if is_ours else machine_advice(error)
    if advice is not None:
        return advice
    return error if isinstance(error, HsipipeError) else f"{type(error).__name__}: {error}"


def guarded(body: Callable[[], object]) -> int:
    """Run a command and return its exit code.

    With ``HSIPIPE_DEBUG=1`` every error has its traceback.
    """
    _prepare_streams()
    try:
        _run_and_flush(body)
    except BrokenPipeError:  # such as `| head`
        # Python would flush it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print("error: the output was closed before the command ended", file=sys.stderr)
        return 128 + signal.SIGPIPE
    except HsipipeError as error:
        if os.environ.get("HSIPIPE_DEBUG") == "1":
            sys.excepthook = show
            raise
        paused = isinstance(error, TrainingPausedError)
        line = without_credentials(one_line(reason(error)))
        print(line if paused else f"error: {line}", file=sys.stderr)
        return PAUSED if paused else ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else 1
    except Exception as error:
        trouble = machine_advice(error)
        if trouble is None or os.environ.get("HSIPIPE_DEBUG") == "1":
            sys.excepthook = show
            raise
        print(f"error: {without_credentials(trouble)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def hang_up_as_terminate() -> None:
    """End in good order when the terminal is closed; under ``nohup``, continue."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _number, _frame: os.kill(os.getpid(), signal.SIGTERM))


def _run_and_flush(body: Callable[[], object]) -> None:
    try:
        body()
    except SystemExit:  # as typer ends
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _prepare_streams() -> None:
    """Print any name in any locale, and never into a file that has taken the place of a closed stream."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = getattr(sys, name)
        if stream is None:  # closed by `>&-`: the next file would get its number, and a child would write into it
            stream = open(os.devnull, mode, encoding="utf-8")
            setattr(sys, name, stream)
            if stream.fileno() == number:
                os.set_inheritable(number, True)
        if mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def show(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print a traceback as Python does, with the credentials of addresses removed."""
    print(without_credentials("".join(traceback.format_exception(error))), end="", file=sys.stderr)
