"""Start children that end with their parent.

``python -m tasks.running.process <module> [arguments]`` runs a module that ends when its parent dies, even by SIGKILL.
A killed DVC leaves its stage running, and the next run would write the same output at the same time.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from hsipipe.processes import end_with_parent
from tasks.running.owner import Owner

GRACE_S = 15.0
"""Time for a child to shut down, in which a stage closes its MLflow run."""
POLL_S = 0.5
DVC = frozenset({"dvc", "tasks.running.quiet_dvc"})
"""Names under which DVC runs."""


def dvc_ancestor() -> Owner | None:
    """Return the dvc process that is an ancestor of this one, if any."""
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()[:3]
        except psutil.Error:
            continue
        # `python -m dvc` and `.../bin/dvc`, but not a shell whose script mentions dvc.
        if any(Path(word).name in DVC for word in words):
            return Owner.of(process)
    return None


def die_with(owner: Owner) -> None:
    """End this process by SIGTERM when `owner` is gone.

    For an ancestor with a shell in between, whose death the kernel does not signal to this process.
    """

    def watch() -> None:
        while not owner.is_gone():
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="die-with", daemon=True).start()


def start(
    module: str,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    capture: bool = True,
    stdout: IO[str] | None = None,
) -> "subprocess.Popen[str]":
    """Start ``python -m module`` in a new process session, which can be stopped as a whole.

    Args:
        module: Module to run.
        arguments: Its command line.
        cwd: Working directory.
        env: Variables in addition to those of this process.
        capture: Pipe its output (stdout and stderr together); otherwise inherit ours.
        stdout: File for its stdout instead; stderr is inherited.
    """
    # Stages are called as `python ...`, which must be this interpreter, whether its environment is activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "tasks.running.process", module, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {}), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=stdout or (subprocess.PIPE if capture else None),
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def end_group(child: "subprocess.Popen[str]", *, grace_s: float = GRACE_S) -> None:
    """End a child of :func:`start` and all its descendants by SIGTERM, then by SIGKILL."""
    group = child.pid
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and (child.poll() is None or _members(group)):
        time.sleep(0.05)
    _signal_group(group, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def _members(group: int) -> list[int]:
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


if __name__ == "__main__":
    end_with_parent(signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
