"""Call DVC, which alone decides which stages are stale. No other module calls it.

DVC runs in a child process of the session (:mod:`tasks.running.pipeline_run`).
"""

import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from hsipipe.checkout import PARAMS
from hsipipe.errors import HsipipeError, MissingInputError, ParamsError, StageFailedError, one_line
from hsipipe.params import Params, load_params, parse_params
from tasks.running import dvc_cache
from tasks.running.check_names import check_names, check_settings
from tasks.running.durations import forecast
from tasks.running.params_file import replaced, with_values
from tasks.running.pipeline_run import Session, own_message, pipeline_session, run_module, stage_error
from tasks.running.stages import NAMES, address, items, labels

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """Result of reproducing a stage."""

    RAN = "ran"
    UP_TO_DATE = "up to date"
    RESTORED = "restored from the cache of earlier runs"


def repro(root: Path, stage: str, *, on_line: Callable[[str], object], force: bool = False) -> Outcome:
    """Bring one stage up to date: ``dvc repro --single-item``.

    Args:
        root: The project.
        stage: Name of the stage.
        on_line: Called with each line of the output.
        force: Run the stage even if DVC sees no change, because it reads something DVC does not watch.

    Raises:
        StageUnreachableError: An address needed by the stage did not answer.
        StagePausedError: The training of the stage reached its time limit.
        StageFailedError: Carries the stage's own message.
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
    """Bring all stages (or the targets and their dependencies) up to date, with output to the terminal.

    Args:
        root: The project.
        targets: Names of stages; empty: all.
        overrides: See :func:`overridden`.

    Raises:
        ParamsError: An override does not fit; nothing has changed.
        StagePausedError: A training reached its time limit.
        StageFailedError: A stage failed; carries the stage's own message.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    with pipeline_session(root) as current, overridden(root, overrides) as params:
        # The stages that targets need are DVC's to find.
        if text := "" if targets else forecast(root, labels(params)):
            print(text, file=sys.stderr, flush=True)
        if _run_whole(current, "repro", *targets, on_line=None):
            raise stage_error(root)(f"The pipeline stopped: {own_message(root, [])}")


def call(root: Path, *arguments: str, on_line: Callable[[str], object]) -> tuple[int, list[str]]:
    """Run any DVC command under the session's lock and deadline.

    Returns:
        Its exit code and the lines it printed.

    Raises:
        StageFailedError: The time limit has passed.
        AlreadyRunningError: Another pipeline runs in this checkout.
    """
    lines, keep = _keeping(on_line)
    with pipeline_session(root) as current:
        return _run_dvc(current, *arguments, on_line=keep), lines


def has_remote(root: Path) -> bool:
    """Return whether DVC has a default remote, in the configuration of the machine, the user or the project."""
    return bool(_core(root).get("remote"))


def stale(root: Path, *, on_line: Callable[[str], object]) -> list[str]:
    """Return the names of the stages whose outputs do not match their code, parameters and inputs.

    Raises:
        StageFailedError: DVC cannot determine it.
    """
    code, lines = call(root, "status", "--json", on_line=on_line)
    try:
        found = json.loads(lines[-1]) if code == 0 and lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StageFailedError(f"DVC cannot determine which stages are up to date: {own_message(root, lines)}")
    # DVC also lists trainings that no compared method needs.
    params = load_params(root / PARAMS)
    wanted = {address(name, item) for name in NAMES for item in items(params, name)}
    return sorted(wanted & set(found))


def changed_params(root: Path, overrides: Sequence[str]) -> tuple[Params, str]:
    """Apply overrides to the content of params.yaml; write nothing.

    Args:
        root: The project.
        overrides: ``group.key=value`` in the grammar of Hydra; the last value of a key wins.

    Returns:
        The checked parameters, and the text of params.yaml that holds them.

    Raises:
        ParamsError: Syntax, an unknown key, or a value that does not fit.
        UnknownNameError: Unknown data set, SRF or protocol.
    """
    params = load_params(root / PARAMS)
    text = (root / PARAMS).read_text(encoding="utf-8")
    if not overrides:
        return params, text
    tree = _apply(yaml.safe_load(text), overrides)
    params = parse_params(tree, source=PARAMS)
    check_names(params)
    check_settings(params)
    return params, with_values(text, tree)


def _apply(tree: Any, overrides: Sequence[str]) -> Any:
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    if removals := [item for item in overrides if item.startswith("~")]:
        raise ParamsError(f"Got {' '.join(removals)!r}, expected group.key=value; a key cannot be removed.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.json"  # JSON keeps types that versions of YAML read in different ways
        path.write_text(json.dumps(tree), encoding="utf-8")
        try:
            # "++" adds an unknown key, so that the check of the params can name it and the nearest known one.
            apply_overrides(path, [item if item.startswith("+") else f"++{item}" for item in overrides])
        except (DvcException, ValueError, AttributeError) as error:
            cause = error.__cause__ or error
            raise ParamsError(f"Got {' '.join(overrides)!r}, expected group.key=value: {one_line(cause)}") from error
        return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def overridden(root: Path, overrides: Sequence[str]) -> Iterator[Params]:
    """Write overrides into params.yaml: for good if the body succeeds, else undone (:mod:`tasks.running.params_file`).

    The caller holds the :func:`pipeline_session`.

    Raises:
        ParamsError: See :func:`changed_params`; params.yaml is unchanged.
    """
    params, text = changed_params(root, overrides)
    with replaced(root, text) if overrides else nullcontext():
        yield params


def set_params(root: Path, overrides: Sequence[str]) -> Params:
    """Write overrides into params.yaml for good.

    Raises:
        ParamsError: See :func:`changed_params`; params.yaml is unchanged.
    """
    with overridden(root, overrides) as params:
        return params


def out_hashes(root: Path) -> dict[str, str]:
    """Return DVC's hash of every output in its lock files, by path relative to the root."""
    stages = dvc_cache.locked_stages(root).values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", []) if "md5" in out}


def _keeping(on_line: Callable[[str], object]) -> tuple[list[str], Callable[[str], None]]:
    """Return a list and a callback that appends each line to it and passes the line on."""
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        on_line(line)

    return lines, keep


def _run_whole(current: Session, *arguments: str, on_line: Callable[[str], object] | None) -> int:
    """Run dvc; if it restored damaged outputs from its cache, drop them and run it again to regenerate them."""
    before = dvc_cache.marks(current.root)
    code = _run_dvc(current, *arguments, on_line=on_line)
    if not code and _drop_damaged(current, before):
        code = _run_dvc(current, *arguments, on_line=on_line)
    return code


def _drop_damaged(current: Session, before: dvc_cache.Marks) -> list[str]:
    """Remove outputs that DVC restored damaged, from the workspace and its cache; return their names."""
    root = current.root
    names = dvc_cache.damaged(root, before)
    if not names:
        return []
    said: list[str] = []
    _run_dvc(current, "cache", "dir", on_line=said.append)
    for name in names:
        logger.warning("%s in DVC's cache is damaged; remove it there and run its stage again.", name)
        dvc_cache.drop(root, name, cache=Path(said[-1]) if said else root / ".dvc" / "cache")
        shutil.rmtree(root / name)
    return names


def _check_repository(root: Path) -> None:
    """Check that DVC finds a git repository, or was told to do without one."""
    if "GIT_DIR" in os.environ or any((folder / ".git").exists() for folder in (root, *root.parents)):
        return
    if not _core(root).get("no_scm"):
        raise MissingInputError(
            f"{root} is not in a git repository, which DVC needs; make one: git init && git add --all && git commit "
            "--message start; or do without: dvc config --local core.no_scm true"
        )


def _core(root: Path) -> dict[str, Any]:
    """Return the group `core` of DVC's configuration of the machine, the user and the project."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        return dict(Config(dvc_dir=str(root / ".dvc"), validate=False).get("core", {}))
    except DvcException as error:
        raise HsipipeError(f"DVC's configuration cannot be read: {one_line(error)}") from error


def _run_dvc(current: Session, *arguments: str, on_line: Callable[[str], object] | None) -> int:
    _check_repository(current.root)
    return run_module(current, "tasks.running.quiet_dvc", *arguments, on_line=on_line)


def _outcome(stage: str, lines: Sequence[str]) -> Outcome:
    text = "\n".join(lines)
    if f"Running stage '{stage}'" in text:
        return Outcome.RAN
    if f"Stage '{stage}' is cached" in text:
        return Outcome.RESTORED
    return Outcome.UP_TO_DATE
