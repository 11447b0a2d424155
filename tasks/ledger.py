"""The only caller of DVC, which alone decides what is stale.

DVC runs in a child process: a group of its own that ends with us, so that no stage outlives its pipeline.
One pipeline at a time runs in a checkout, behind a lock of ours; DVC's own would let a second one in while
a stage runs.
"""

import json
import logging
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from hsipipe.credentials import without_credentials
from hsipipe.errors import HsipipeError, ParamsError, StageFailedError, StageUnreachableError
from hsipipe.params import Params, load_params, parse_params
from tasks import restored, workspace
from tasks.locks import hold
from tasks.names import check_names
from tasks.process import end_group, start
from tasks.project import PARAMS, locks

PIPELINE_RUN = "HSIPIPE_PIPELINE_RUN"
"""Environment variable that tells the stages to which pipeline run they belong."""
SWEEP_RUN = "HSIPIPE_SWEEP_RUN"
"""Environment variable with the MLflow run of the sweep that this pipeline run is a point of."""

UNREACHABLE = "unreachable"
"""Second line of a stage's message: the same again may do."""

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """What a reproduction came to."""

    RAN = "ran"
    UP_TO_DATE = "up to date"
    RESTORED = "restored from the cache of earlier runs"


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
def session(root: Path, *, timeout_s: float | None = None) -> Iterator[Session]:
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
        for sentence in workspace.restore(root):
            logger.warning(sentence)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        mine = Session(root, f"run-{uuid.uuid4().hex}", deadline)
        token = _session.set(mine)
        try:
            yield mine
        finally:
            _session.reset(token)


def repro(root: Path, stage: str, *, on_line: Callable[[str], object], force: bool = False) -> Outcome:
    """Bring one stage up to date: ``dvc repro --single-item``.

    Args:
        root: The project.
        stage: Name of the stage.
        on_line: Gets each line of the output as it comes.
        force: Run it in any case: what it reads changed where DVC does not look.

    Raises:
        StageUnreachableError: An address that the stage needs did not answer.
        StageFailedError: With the stage's own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    with _joined(root) as current:
        forced = ["--force"] if force else []
        code = _run_whole(current, "repro", *forced, "--single-item", stage, on_line=keep)
    if code:
        kind = StageUnreachableError if _was_unreachable(root) else StageFailedError
        raise kind(f"Stage {stage} failed: {_own_message(root, lines)}")
    return _outcome(stage, lines)


def run(root: Path, targets: Sequence[str] = (), *, overrides: Sequence[str] = ()) -> None:
    """Bring everything (or the targets and what they need) up to date, output straight to the terminal.

    Args:
        root: The project.
        targets: Names of stages; none: all.
        overrides: ``group.key=value``; with any of them it is an experiment of DVC.

    Raises:
        ParamsError: An override does not fit; nothing was changed.
        StageFailedError: A stage failed; with its own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    changed_params(root, overrides)
    command = ["exp", "run", *(f"--set-param={item}" for item in overrides)] if overrides else ["repro"]
    with session(root) as current:
        code = _run_whole(current, *command, *targets, on_line=None)
    if code:
        raise StageFailedError(f"The pipeline stopped: {_own_message(root, [])}")


def experiment(
    root: Path,
    name: str,
    *,
    overrides: Sequence[str],
    env: Mapping[str, str],
    on_line: Callable[[str], object],
) -> None:
    """Run everything in the workspace as an experiment of DVC: ``dvc exp run``, never queued.

    All stages, not a target: DVC fails at the end of an experiment with a target when dvc.lock names outputs of other
    stages that are not in its cache, as in a fresh clone.

    Args:
        root: The project, whose workspace is saved (:mod:`tasks.workspace`).
        name: Name of the experiment; DVC refuses one that there is.
        overrides: ``group.key=value``.
        env: Variables for the stages.
        on_line: Gets each line of the output as it comes.

    Raises:
        ParamsError: An override does not fit; nothing was changed.
        StageFailedError: With the failing stage's own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    _, text = changed_params(root, overrides)
    workspace.expect(root, text)
    settings = [f"--set-param={item}" for item in overrides]
    with _joined(root) as current:
        if current.is_over():
            raise StageFailedError("The time limit has passed before this began.")
        own = replace(current, key=f"{current.key}-{name}")
        before = restored.marks(root)
        code = _run_dvc(own, "exp", "run", "--name", name, *settings, on_line=keep, env=env)
        if not code and (names := _drop_damaged(own, before)):
            # Not once more: DVC has the experiment under this name now.
            raise StageFailedError(f"Damaged in DVC's cache, and removed from it: {', '.join(names)}. Run it again.")
    if code:
        raise StageFailedError(_own_message(root, lines))


def dvc(root: Path, *arguments: str, on_line: Callable[[str], object]) -> tuple[int, list[str]]:
    """Run another command of DVC, under the session's lock and deadline.

    Returns:
        Its exit code, and the lines that it printed.

    Raises:
        StageFailedError: The time limit has passed.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    with _joined(root) as current:
        return _run_dvc(current, *arguments, on_line=keep), lines


def run_task(root: Path, name: str, *, on_line: Callable[[str], object]) -> None:
    """Run ``python -m tasks <name>``, which is no stage, in a child of its own as a stage is.

    Raises:
        StageFailedError: With its own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    with _joined(root) as current:
        code = _run(current, "tasks", name, on_line=on_line)
    if code:
        raise StageFailedError(f"{name} failed: {_own_message(root, [])}")


def has_remote(root: Path) -> bool:
    """Whether a remote storage is configured as the default, for all users of this machine or for this project."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        return bool(Config(dvc_dir=str(root / ".dvc"), validate=False).get("core", {}).get("remote"))
    except DvcException as error:
        raise HsipipeError(f"DVC's configuration cannot be read: {_one_line(error)}") from error


def stale(root: Path, *, on_line: Callable[[str], object]) -> list[str]:
    """Names of the stages whose outputs are not what their code, parameters and inputs make.

    Raises:
        StageFailedError: DVC cannot tell.
    """
    code, lines = dvc(root, "status", "--json", on_line=on_line)
    try:
        found = json.loads(lines[-1]) if code == 0 and lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StageFailedError(f"DVC cannot tell what is up to date: {_own_message(root, lines)}")
    return sorted(found)


def checkout(root: Path, *, on_line: Callable[[str], object]) -> bool:
    """Bring the outputs to what dvc.lock says; those that DVC's cache lacks are removed.

    Returns:
        Whether DVC managed.
    """
    with _joined(root) as current:
        own = replace(current, deadline=None)
        return _run_dvc(own, "checkout", "--quiet", "--force", "--allow-missing", on_line=on_line) == 0


def changed_params(root: Path, overrides: Sequence[str]) -> tuple[Params, str]:
    """Params with overrides, and the text of params.yaml that says so; writes nothing.

    Args:
        root: The project.
        overrides: ``group.key=value`` in the syntax of ``dvc exp run --set-param``.

    Raises:
        ParamsError: Syntax, an unknown key, or a value that does not fit.
        UnknownNameError: A data set, SRF or protocol that there is not.
    """
    original = root / PARAMS
    params = load_params(original)
    if not overrides:
        return params, original.read_text(encoding="utf-8")
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PARAMS
        shutil.copyfile(original, copy)
        try:
            # "++" adds a key that is not there, so that the check below can name it and the nearest known one.
            apply_overrides(copy, [item if item[:1] in "+~" else f"++{item}" for item in overrides])
        except (DvcException, ValueError, AttributeError) as error:
            cause = error.__cause__ or error
            raise ParamsError(
                f"Cannot read {' '.join(overrides)!r}, expected group.key=value: {_one_line(cause)}"
            ) from error
        text = copy.read_text(encoding="utf-8")
    params = parse_params(yaml.safe_load(text), source=PARAMS)
    check_names(params)
    return params, text


def set_params(root: Path, overrides: Sequence[str]) -> Params:
    """Write overrides into params.yaml, comments kept; see :func:`changed_params`.

    Raises:
        ParamsError: As there; params.yaml is untouched then.
    """
    from hsipipe.storage.publish import write_text

    params, text = changed_params(root, overrides)
    if overrides:
        write_text(root / PARAMS, text)
    return params


def out_hashes(root: Path) -> dict[str, str]:
    """DVC's hash of every output in dvc.lock, by its path relative to the root."""
    try:
        lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8")) or {}
    except (FileNotFoundError, yaml.YAMLError):
        return {}
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def error_path(root: Path) -> Path:
    """Where a failing stage leaves its message for whoever started DVC; :data:`UNREACHABLE` may stand below it."""
    return root / ".hsipipe" / "last_error.txt"


def _joined(root: Path) -> AbstractContextManager[Session]:
    """The session that goes on in `root`, or one of its own."""
    running = _session.get()
    return session(root) if running is None or running.root != root else nullcontext(running)


def _run_whole(current: Session, *arguments: str, on_line: Callable[[str], object] | None) -> int:
    """Run dvc; where it has brought back damaged outputs, drop them and run it again, which makes them anew."""
    before = restored.marks(current.root)
    code = _run_dvc(current, *arguments, on_line=on_line)
    if not code and _drop_damaged(current, before):
        code = _run_dvc(current, *arguments, on_line=on_line)
    return code


def _drop_damaged(current: Session, before: restored.Marks) -> list[str]:
    """Remove outputs that came damaged out of DVC's cache, here and there; their names."""
    root = current.root
    names = restored.damaged(root, before)
    if not names:
        return []
    said: list[str] = []
    _run_dvc(current, "cache", "dir", on_line=said.append)
    for name in names:
        logger.warning("%s came damaged out of DVC's cache; it is removed there and made again.", name)
        restored.drop(root, name, cache=Path(said[-1]) if said else root / ".dvc" / "cache")
        shutil.rmtree(root / name)
    return names


def _run_dvc(
    current: Session,
    *arguments: str,
    on_line: Callable[[str], object] | None,
    env: Mapping[str, str] | None = None,
) -> int:
    return _run(current, "dvc", *arguments, on_line=on_line, env=env)


def _run(
    current: Session,
    module: str,
    *arguments: str,
    on_line: Callable[[str], object] | None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a module to its end; on an exception, a signal or the deadline the whole group is ended."""
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


def _outcome(stage: str, lines: Sequence[str]) -> Outcome:
    text = "\n".join(lines)
    if f"Running stage '{stage}'" in text:
        return Outcome.RAN
    if f"Stage '{stage}' is cached" in text:
        return Outcome.RESTORED
    return Outcome.UP_TO_DATE


def _was_unreachable(root: Path) -> bool:
    try:
        return UNREACHABLE in error_path(root).read_text(encoding="utf-8").splitlines()[1:]
    except FileNotFoundError:
        return False


def _own_message(root: Path, lines: Sequence[str]) -> str:
    """The stage's message if it left one, else DVC's, else the end of what was said."""
    try:
        return error_path(root).read_text(encoding="utf-8").strip().splitlines()[0]
    except (FileNotFoundError, IndexError):
        said = [line.removeprefix("ERROR:") for line in lines if line.startswith("ERROR:")]
        said = said or [line for line in lines[-5:] if line.strip()]
        return _one_line(" ".join(said)) or "dvc gave up; its message stands above."


def _one_line(error: Any) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()
