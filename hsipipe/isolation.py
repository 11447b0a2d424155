"""Run a function on untrusted input in a child process with limits of time and memory.

A reader that crashes, hangs or fills the memory then ends alone.
"""

import json
import multiprocessing
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, NamedTuple

import psutil

from hsipipe.processes import end_with_parent

_GRACE_CPU_S = 5
_END_S = 10
_POLL_S = 0.2
_MOST_ANSWER = 256 << 20
"""Largest answer; that of the inbox lists every file of a scene."""
_MAIN = threading.Lock()


class Limits(NamedTuple):
    """Limits of a child process.

    Attributes:
        cpu_s: CPU time in s.
        wall_s: Wall time in s, longer for a slow disk.
        memory: Bytes that it may take in addition to those of its start.
    """

    cpu_s: float
    wall_s: float
    memory: int


class UnansweredError(Exception):
    """A child process gave no answer.

    Args:
        code: Its exit code, negative for a signal; None: it was ended because its wall time was over.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code

    @property
    def is_late(self) -> bool:
        """True if its CPU time or its wall time was over."""
        return self.code in (None, -signal.SIGXCPU)

    def __str__(self) -> str:
        if self.code is None:
            return "no end within the wall time"
        return signal.Signals(-self.code).name if self.code < 0 else f"exit code {self.code}"


def run_limited(
    work: Callable[..., Any],
    *args: Any,
    limits: Limits,
    preload: Sequence[str] = (),
    while_waiting: Callable[[], None] = lambda: None,
) -> Any:
    """Call a function in a child process.

    Args:
        work: Function of a module, which returns JSON.
        args: Its arguments, which are pickled.
        limits: Limits of the child.
        preload: Modules that the server of the children imports at its start.
        while_waiting: Called several times a second; an error that it raises ends the child.

    Raises:
        UnansweredError: The child ended without an answer, or was ended.
    """
    context = _context([work.__module__, *preload])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(sender, work, args, limits), daemon=True)
    with _without_main():
        child.start()
    sender.close()
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(limits.wall_s, end)
    timer.start()
    try:
        while not receiver.poll(_POLL_S):
            while_waiting()
        answer = receiver.recv_bytes(_MOST_ANSWER)
    except (EOFError, OSError):  # the answer is incomplete or invalid
        child.join(0 if late.is_set() else _END_S)
        raise UnansweredError(None if late.is_set() else child.exitcode) from None
    finally:
        timer.cancel()
        child.kill()
        child.join()
        receiver.close()
    # Not pickled: what a hostile file has made of the child must not run here.
    return json.loads(answer)


def prepare_children(preload: Sequence[str]) -> None:
    """Start the server of the children before the first call of :func:`run_limited`, with the same `preload`."""
    _context(preload)
    forkserver.ensure_running()


def _context(preload: Sequence[str]) -> Any:
    # A server process forks a child for each call: fast, and without the threads of this process.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *preload])
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module: multiprocessing would run the file of the caller again in every child."""
    with _MAIN:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _work(sender: Connection, work: Callable[..., Any], args: Sequence[Any], limits: Limits) -> None:
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the parent ends this process
    _set_limits(limits)
    sender.send_bytes(json.dumps(work(*args)).encode())


def _set_limits(limits: Limits) -> None:
    process = psutil.Process()
    used = process.cpu_times()
    soft = int(used.user + used.system + limits.cpu_s) + 1
    held = process.memory_info()
    memory = limits.memory + getattr(held, "data", held.vms)
    wanted = {resource.RLIMIT_CPU: (soft, soft + _GRACE_CPU_S), resource.RLIMIT_DATA: (memory, memory)}
    for number, (soft, most) in wanted.items():
        _, hard = resource.getrlimit(number)
        try:
            resource.setrlimit(number, (soft, most) if hard == resource.RLIM_INFINITY else (min(soft, hard), hard))
        except (ValueError, OSError):  # a system without this limit
            continue
