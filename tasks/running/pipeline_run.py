"""Run the pipeline under a lock and a deadline, in child processes.

Each child has its own process group, which ends with this process, so that no stage outlives its pipeline. One pipeline
at a time runs in a checkout, under a lock: DVC's lock would admit a second one while a stage runs.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from hsipipe.checkout import locks
from hsipipe.credentials import without_credentials
from hsipipe.errors import StageFailedError, StagePausedError, StageUnreachableError, one_line
from hsipipe.locks import hold
from tasks.running import params_file
from tasks.running.process import end_group, start

PIPELINE_RUN = "HSIPIPE_PIPELINE_RUN"
"""Environment variable with the key of the pipeline run that a stage belongs to."""
UNREACHABLE = "unreachable"
"""Second line of a stage's message: a retry may succeed."""
PAUSED = "paused"
"""Second line of a stage's message: its training reached the time limit."""


@dataclass(frozen=True)
class Session:
    """Pipeline run that holds the lock.

    Attributes:
        root: The project.
        key: Identifies the run; the MLflow runs of its stages share one parent.
        deadline: Value of :func:`time.monotonic` at which the run ends; None: never.
    """

    root: Path
    key: str
    deadline: float | None

    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline


_session: ContextVar[Session | None] = ContextVar("session", default=None)


@contextmanager
def pipeline_session(root: Path, *, timeout_s: float | None = None) -> Iterator[Session]:
    """Hold the checkout for one run of the pipeline, and undo overrides that a killed run has left in params.yaml.

    Inside a running session, as in a flow within a flow, give that session with its own deadline.

    Raises:
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    running = _session.get()
    if running is not None and running.root == root:
        yield running
        return
    with hold(locks(root) / "pipeline.lock", what=f"A pipeline in {root}"):
        params_file.restore(root)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        mine = Session(root, f"run-{uuid.uuid4().hex}", deadline)
        token = _session.set(mine)
        try:
            yield mine
        finally:
            _session.reset(token)


def run_task(root: Path, name: str, *, on_line: Callable[[str], object]) -> None:
    """Run ``python -m tasks <name>``, which is no stage, in a child process as a stage.

    Raises:
        StageFailedError: Carries its own message.
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
) -> int:
    """Run ``python -m module``; on an exception, a signal or the deadline, end its whole process group.

    Args:
        current: Session of the run.
        module: Module to run.
        arguments: Its command line.
        on_line: Called with each line of the output; None: inherit stdout and stderr.

    Returns:
        Its exit code.

    Raises:
        StageFailedError: The session's time limit has passed.
    """
    root = current.root
    error_path(root).unlink(missing_ok=True)
    child = start(module, *arguments, cwd=root, env={PIPELINE_RUN: current.key}, capture=on_line is not None)
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
        raise StageFailedError(
            f"{' '.join([module.rpartition('.')[2], *arguments])} was stopped: the pipeline's time limit has passed."
        )
    return code


def error_path(root: Path) -> Path:
    """File in which a failing stage leaves its message for the caller of DVC; a second line may name its kind."""
    return root / ".hsipipe" / "last_error.txt"


def stage_error(root: Path) -> type[StageFailedError]:
    """Return the class of error of the stage that failed last."""
    kinds = {UNREACHABLE: StageUnreachableError, PAUSED: StagePausedError}
    try:
        kind = error_path(root).read_text(encoding="utf-8").splitlines()[1]
    except (FileNotFoundError, IndexError):
        return StageFailedError
    return kinds.get(kind, StageFailedError)


def own_message(root: Path, lines: Sequence[str]) -> str:
    """Return the stage's message if it left one, else DVC's, else the last lines of the output."""
    try:
        return error_path(root).read_text(encoding="utf-8").strip().splitlines()[0]
    except (FileNotFoundError, IndexError):
        said = [line.removeprefix("ERROR:") for line in lines if line.startswith("ERROR:")]
        said = said or [line for line in lines[-5:] if line.strip()]
        return one_line(" ".join(said) or "dvc failed; its message is above.")
