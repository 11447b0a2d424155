"""Open an input in a child process, and measure what it took.

As a program, fork a child for each path on standard input, and write its outcome to standard output: the process has no
threads, and has imported the readers. Tests call :func:`run`.
"""

import atexit
import json
import os
import resource
import select
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import cache

MOST_MB = 1000
MOST_CPU_S = 5.0
_TRIES = 3
"""Runs of an input that took too long, of which the fastest counts: CPU time grows on a busy machine."""
_WALL_S = 60
_MOST_READ = 1 << 22


@dataclass(frozen=True)
class Outcome:
    """The result of opening an input: "cube", "refused" or a fault, the peak memory in MB, and the CPU seconds."""

    kind: str
    said: str
    mb: float
    cpu_s: float

    @property
    def fault(self):
        """The defect that this outcome shows, or an empty text."""
        if self.kind not in ("cube", "refused"):
            return f"{self.kind}: {self.said}"
        if self.mb > MOST_MB or self.cpu_s > MOST_CPU_S:
            return f"{self.mb:.0f} MB, {self.cpu_s:.1f} s ({self.said})"
        return ""


@cache
def _forker():
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end():
        process.communicate()

    atexit.register(end)
    return process


def run(path):
    """Open a path in a child process; return the outcome."""
    process, outcomes = _forker(), []
    while len(outcomes) < _TRIES and all(outcome.cpu_s > MOST_CPU_S for outcome in outcomes):
        process.stdin.write(json.dumps(str(path)) + "\n")
        process.stdin.flush()
        outcomes.append(Outcome(**json.loads(process.stdout.readline())))
    return min(outcomes, key=lambda outcome: outcome.cpu_s)


def _look(path):
    """Open a cube, read it if it is small, and say what it is."""
    from hsipipe import open_cube
    from hsipipe.errors import HsipipeError
    from hsipipe.machine import machine_trouble

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cube = open_cube(path)
            if cube.size <= _MOST_READ:
                cube.load()
        return "cube", f"{cube.shape}"
    except HsipipeError as error:
        if machine_trouble(error):
            return "memory", str(error)
        return ("traceback", f"not one line: {error}") if "\n" in str(error) else ("refused", str(error))
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"


def _outcome(path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _open(path, writer)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], _WALL_S)
    answer = os.read(reader, 1 << 16) if ready else b""
    os.close(reader)
    if not answer:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    took = (usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
    if not answer:
        how = f"ended with {os.waitstatus_to_exitcode(status)}" if ready else f"no answer in {_WALL_S} s"
        return Outcome("crash", how, *took)
    kind, said = json.loads(answer)
    return Outcome(kind, said, *took)


def _open(path, writer):
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 25))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        kind, said = _look(path)
        os.write(writer, json.dumps((kind, said[:500])).encode())
    finally:
        os._exit(0)


def _serve():
    import rioxarray  # noqa: F401  # readers import it late

    from hsipipe.formats import FORMATS

    readers = list(FORMATS.values())  # imported before the forks, each of which would take a second for it
    assert readers
    for line in sys.stdin:
        outcome = _outcome(json.loads(line))
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    _serve()
