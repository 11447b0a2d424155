"""A run of the pipeline: who holds the checkout, until when, and the children that work for it.

A child has a process group of its own that ends with us, so that no stage outlives its pipeline. One pipeline at a time
runs in a checkout, behind a lock of ours; DVC's own would let a second one in while a stage runs.
"""

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsipipe.credentials import without_credentials
from hsipipe.errors import StageFailedError, StagePausedError, StageUnreachableError
from tasks.running import saved_checkout
from tasks.running.locks import hold
from tasks.running.process import end_group, start
from tasks.running.project import locks

PIPELINE_RUN = "HSIPIPE_PIPELINE_RUN"
"""Environment variable that tells the stages to which pipeline run they belong."""
SWEEP_RUN = "HSIPIPE_SWEEP_RUN"
"""Environment variable with the MLflow run of the sweep that this pipeline run is a point of."""

UNREACHABLE = "unreachable"
"""Second line of a stage's message: an address did not answer, and may answer later."""
PAUSED = "paused"
"""Second line of a stage's message: its training reached the time limit."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A run of the pipeline that holds the lock.

    Attributes:
        root: The project.
        key: Names the run; the MLflow runs of its stages hang under one parent.
        deadline: Value of :func:`time.monotonic` at which it is over; None: never.
    """

    root: Path
    key: str
    deadline: float | None

    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline


_session: ContextVar[Session | None] = ContextVar("session", default=None)


@contextmanager
def pipeline_session(root: Path, *, timeout_s: float | None = None) -> Iterator[Session]:
    """Hold the checkout for one run of the pipeline; what a killed sweep has left in it is put right first.

    Within a session that goes on, as of a flow inside another, it is that one with its own deadline.

    Raises:
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    running = _session.get()
    if running is not None and running.root == root:
        yield running
        return
    with hold(locks(root) / "pipeline.lock", what=f"A pipeline in {root}"):
        for sentence in saved_checkout.restore(root):
            logger.warning(sentence)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        mine = Session(root, f"run-{uuid.uuid4().hex}", deadline)
        token = _session.set(mine)
        try:
            yield mine
        finally:
            _session.reset(token)


def run_task(root: Path, name: str, *, on_line: Callable[[str], object]) -> None:
    """Run ``python -m tasks <name>``, which is no stage, in a child of its own as a stage is.

    Raises:
        StageFailedError: With its own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    with pipeline_session(root) as current:
        code = run_module(current, "tasks", name, on_line=on_line)
    if code:
        raise StageFailedError(f"{name} failed: {own_message(root, [])}")


def run_module(
    current: Session,
    module: str,
    *arguments: str,
    on_line: Callable[[str], object] | None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run ``python -m module`` to its end; on an exception, a signal or the deadline its whole process group is ended.

    Args:
        current: The session that it belongs to.
        module: What to run.
        arguments: Its command line.
        on_line: Gets each line of the output as it comes; None: it goes where ours goes.
        env: Variables on top of this process's own.

    Returns:
        Its exit code.

    Raises:
        StageFailedError: The session's time limit has passed.
    """
    root = current.root
    error_path(root).unlink(missing_ok=True)
    variables = {PIPELINE_RUN: current.key, **(env or {})}
    child = start(module, *arguments, cwd=root, env=variables, capture=on_line is not None)
    overdue = threading.Event()
    timer = None
    if current.deadline is not None:

        def end() -> None:
            overdue.set()
            end_group(child)

        timer = threading.Timer(max(0.0, current.deadline - time.monotonic()), end)
        timer.daemon = True
        timer.start()
    try:
        if child.stdout is not None and on_line is not None:
            for line in child.stdout:
                on_line(without_credentials(line.rstrip()))
        code = child.wait()
    except BaseException:
        end_group(child)
        raise
    finally:
        if timer is not None:
            timer.cancel()
        if child.stdout is not None:
            child.stdout.close()
    if overdue.is_set():
        raise StageFailedError(f"{module} {' '.join(arguments)} was ended: the pipeline's time limit has passed.")
    return code


def error_path(root: Path) -> Path:
    """Where a failing stage leaves its message for the command above DVC; a second line may name its kind."""
    return root / ".hsipipe" / "last_error.txt"


def stage_error(root: Path) -> type[StageFailedError]:
    """The class of error that the stage that failed last ended with."""
    kinds = {UNREACHABLE: StageUnreachableError, PAUSED: StagePausedError}
    try:
        kind = error_path(root).read_text(encoding="utf-8").splitlines()[1]
    except (FileNotFoundError, IndexError):
        return StageFailedError
    return kinds.get(kind, StageFailedError)


def own_message(root: Path, lines: Sequence[str]) -> str:
    """The stage's message if it left one, else DVC's, else the end of what was said."""
    try:
        return error_path(root).read_text(encoding="utf-8").strip().splitlines()[0]
    except (FileNotFoundError, IndexError):
        said = [line.removeprefix("ERROR:") for line in lines if line.startswith("ERROR:")]
        said = said or [line for line in lines[-5:] if line.strip()]
        return one_line(" ".join(said)) or "dvc gave up; its message stands above."


def one_line(error: Any) -> str:
    """The text of an error without line breaks."""
    return re.sub(r"\s+", " ", str(error)).strip()
