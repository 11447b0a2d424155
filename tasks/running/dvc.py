"""The only caller of DVC, which alone decides what is stale.

DVC runs in a child process of the session (:mod:`tasks.running.pipeline_run`).
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

import yaml

from hsipipe.errors import HsipipeError, ParamsError, StageFailedError
from hsipipe.params import Params, load_params, parse_params
from tasks.running import dvc_cache, saved_checkout
from tasks.running.check_names import check_names
from tasks.running.pipeline_run import Session, one_line, own_message, pipeline_session, run_module, stage_error
from tasks.running.project import PARAMS

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """What a reproduction came to."""

    RAN = "ran"
    UP_TO_DATE = "up to date"
    RESTORED = "restored from the cache of earlier runs"


def repro(root: Path, stage: str, *, on_line: Callable[[str], object], force: bool = False) -> Outcome:
    """Bring one stage up to date: ``dvc repro --single-item``.

    Args:
        root: The project.
        stage: Name of the stage.
        on_line: Gets each line of the output as it comes.
        force: Run it in any case: what it reads changed where DVC does not look.

    Raises:
        StageUnreachableError: An address that the stage needs did not answer.
        StagePausedError: The training of the stage reached its time limit.
        StageFailedError: With the stage's own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines, keep = _keeping(on_line)
    with pipeline_session(root) as current:
        forced = ["--force"] if force else []
        code = _run_whole(current, "repro", *forced, "--single-item", stage, on_line=keep)
    if code:
        raise stage_error(root)(f"Stage {stage} failed: {own_message(root, lines)}")
    return _outcome(stage, lines)


def run(root: Path, targets: Sequence[str] = (), *, overrides: Sequence[str] = ()) -> None:
    """Bring everything (or the targets and what they need) up to date, output straight to the terminal.

    Args:
        root: The project.
        targets: Names of stages; none: all.
        overrides: ``group.key=value``; with any of them it is an experiment of DVC.

    Raises:
        ParamsError: An override does not fit; nothing was changed.
        StagePausedError: A training reached its time limit.
        StageFailedError: A stage failed; with its own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    changed_params(root, overrides)
    command = ["exp", "run", *(f"--set-param={item}" for item in overrides)] if overrides else ["repro"]
    with pipeline_session(root) as current:
        code = _run_whole(current, *command, *targets, on_line=None)
    if code:
        raise stage_error(root)(f"The pipeline stopped: {own_message(root, [])}")


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
        root: The project, whose workspace is saved (:mod:`tasks.running.saved_checkout`).
        name: Name of the experiment; DVC refuses one that there is.
        overrides: ``group.key=value``.
        env: Variables for the stages.
        on_line: Gets each line of the output as it comes.

    Raises:
        ParamsError: An override does not fit; nothing was changed.
        StageFailedError: With the failing stage's own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines, keep = _keeping(on_line)
    _, text = changed_params(root, overrides)
    saved_checkout.expect(root, text)
    settings = [f"--set-param={item}" for item in overrides]
    with pipeline_session(root) as current:
        if current.is_over():
            raise StageFailedError("The time limit has passed before this began.")
        own = replace(current, key=f"{current.key}-{name}")
        before = dvc_cache.marks(root)
        code = _run_dvc(own, "exp", "run", "--name", name, *settings, on_line=keep, env=env)
        if not code and (names := _drop_damaged(own, before)):
            # Not once more: DVC has the experiment under this name now.
            raise StageFailedError(f"Damaged in DVC's cache, and removed from it: {', '.join(names)}. Run it again.")
    if code:
        raise StageFailedError(own_message(root, lines))


def call(root: Path, *arguments: str, on_line: Callable[[str], object]) -> tuple[int, list[str]]:
    """Run another command of DVC, under the session's lock and deadline.

    Returns:
        Its exit code, and the lines that it printed.

    Raises:
        StageFailedError: The time limit has passed.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines, keep = _keeping(on_line)
    with pipeline_session(root) as current:
        return _run_dvc(current, *arguments, on_line=keep), lines


def has_remote(root: Path) -> bool:
    """Whether a remote storage is configured as the default, for all users of this machine or for this project."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        return bool(Config(dvc_dir=str(root / ".dvc"), validate=False).get("core", {}).get("remote"))
    except DvcException as error:
        raise HsipipeError(f"DVC's configuration cannot be read: {one_line(error)}") from error


def stale(root: Path, *, on_line: Callable[[str], object]) -> list[str]:
    """Names of the stages whose outputs are not what their code, parameters and inputs make.

    Raises:
        StageFailedError: DVC cannot tell.
    """
    code, lines = call(root, "status", "--json", on_line=on_line)
    try:
        found = json.loads(lines[-1]) if code == 0 and lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StageFailedError(f"DVC cannot tell what is up to date: {own_message(root, lines)}")
    return sorted(found)


def checkout(root: Path, *, on_line: Callable[[str], object]) -> bool:
    """Bring the outputs to what dvc.lock says; those that DVC's cache lacks are removed.

    Returns:
        Whether DVC managed.
    """
    with pipeline_session(root) as current:
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
                f"Cannot read {' '.join(overrides)!r}, expected group.key=value: {one_line(cause)}"
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


def _keeping(on_line: Callable[[str], object]) -> tuple[list[str], Callable[[str], None]]:
    """A list, and what passes lines on and puts them into it."""
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    return lines, keep


def _run_whole(current: Session, *arguments: str, on_line: Callable[[str], object] | None) -> int:
    """Run dvc; where it has brought back damaged outputs, drop them and run it again, which makes them anew."""
    before = dvc_cache.marks(current.root)
    code = _run_dvc(current, *arguments, on_line=on_line)
    if not code and _drop_damaged(current, before):
        code = _run_dvc(current, *arguments, on_line=on_line)
    return code


def _drop_damaged(current: Session, before: dvc_cache.Marks) -> list[str]:
    """Remove outputs that came damaged out of DVC's cache, here and there; their names."""
    root = current.root
    names = dvc_cache.damaged(root, before)
    if not names:
        return []
    said: list[str] = []
    _run_dvc(current, "cache", "dir", on_line=said.append)
    for name in names:
        logger.warning("%s came damaged out of DVC's cache; it is removed there and made again.", name)
        dvc_cache.drop(root, name, cache=Path(said[-1]) if said else root / ".dvc" / "cache")
        shutil.rmtree(root / name)
    return names


def _run_dvc(
    current: Session,
    *arguments: str,
    on_line: Callable[[str], object] | None,
    env: Mapping[str, str] | None = None,
) -> int:
    return run_module(current, "dvc", *arguments, on_line=on_line, env=env)


def _outcome(stage: str, lines: Sequence[str]) -> Outcome:
    text = "\n".join(lines)
    if f"Running stage '{stage}'" in text:
        return Outcome.RAN
    if f"Stage '{stage}' is cached" in text:
        return Outcome.RESTORED
    return Outcome.UP_TO_DATE
