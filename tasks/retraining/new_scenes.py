"""Ingest new scenes from the inbox into dataset.root and DVC; fetch from and push to the remote storage."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from hsipipe.artifacts import RawScenes
from hsipipe.checkout import PARAMS
from hsipipe.datasets.admission import Fit
from hsipipe.datasets.inbox import Arrival, check_apart, scenes_differ, take_in
from hsipipe.errors import DataError, HsipipeError, ParamsError, TransferFailedError, one_line
from hsipipe.params import DatasetParams, Params, load_params
from hsipipe.params.data import MEASURED
from hsipipe.storage.publish import write_text
from tasks.running import dvc
from tasks.running.git import commit, git
from tasks.running.pipeline_run import run_task

OnLine = Callable[[str], object]
_MOST_NAMES = 20
"""Names of scenes in the message of a commit."""
_OURS = ("data", "models", "reports", ".hsipipe", ".dvc", ".git", "mlartifacts")


def check_retraining(root: Path) -> None:
    """Check that params.yaml allows data that changes, before a long run starts.

    Raises:
        ParamsError: An inbox without a data set `folder` in the project, or a split that every new scene would change.
    """
    params = load_params(root / PARAMS)
    if params.inbox.path is None:
        return
    dataset, split = params.dataset, params.split
    if dataset.name != "folder" or dataset.root is None:
        raise ParamsError(
            f"inbox.path is {params.inbox.path!r}, but new scenes need the data set of your own cubes; set "
            "dataset.name to folder and dataset.root to a folder of this project."
        )
    place = _absolute(root, dataset.root)
    if not place.is_relative_to(root.resolve()) or place == root.resolve():
        raise ParamsError(
            f"dataset.root {dataset.root!r} lies outside {root}, where DVC cannot version it; set a folder inside."
        )
    inbox = _absolute(root, params.inbox.path)
    check_apart(inbox, place)
    if place.relative_to(root.resolve()).parts[0] in _OURS:
        raise ParamsError(
            f"dataset.root {dataset.root!r} is a folder of the pipeline; set it to another folder of {root}."
        )
    in_git = inbox.is_relative_to(root.resolve()) and git(root, "rev-parse", "--git-dir") is not None
    if in_git and git(root, "check-ignore", "--quiet", str(inbox / "x")) is None:
        raise ParamsError(
            f"inbox.path {params.inbox.path!r} lies in the project and git does not ignore it, so waiting files "
            "would count as uncommitted changes; add it to .gitignore, or set a folder elsewhere."
        )
    if split.by in ("auto", "scene") and not (split.test_scenes and split.val_scenes):
        raise ParamsError(
            "split.test_scenes and split.val_scenes are drawn among all scenes, so every new scene would change them "
            "and the champion would be judged on its training scenes; set them, for example to the present ones: "
            f"{_present(root)}."
        )


def receive(root: Path, *, on_line: OnLine) -> list[Arrival]:
    """Ingest new scenes, version them with DVC, and run the stage download if the scenes changed.

    Returns:
        The outcome of each scene in the inbox.

    Raises:
        DataError: dataset.root lacks scenes that DVC knows, or contains an unfit scene.
        HsipipeError: DVC or git refuses.
        StageFailedError: The inbox cannot be processed; carries the reason.
    """
    params = load_params(root / PARAMS)
    arrivals: list[Arrival] = []
    if params.inbox.path is not None:
        _align(root, params, on_line)
        # In a child process, as a stage: it ends with the time limit, and a crash of a reader stays there.
        run_task(root, "inbox", on_line=on_line)
        arrivals = [Arrival(**entry) for entry in json.loads(_arrivals(root).read_text(encoding="utf-8"))]
        _version(root, params, arrivals, on_line)
    if is_stale(root):
        # DVC does not look into dataset.root.
        dvc.repro(root, "download", on_line=on_line, force=True)
    return arrivals


def look_through(root: Path) -> list[Arrival]:
    """Ingest or quarantine the files in the inbox; write the outcome to ``.hsipipe/arrivals.json``.

    Raises:
        HsipipeError: See :func:`hsipipe.datasets.inbox.take_in`.
    """
    params = load_params(root / PARAMS)
    if params.inbox.path is None:
        raise ParamsError("inbox.path is null; set it to the folder in which scenes arrive.")
    own = params.degradation
    fit = Fit(own.scale, own.crop_remainder, params.patches, uses_msi=own.srf == MEASURED)
    inbox = _absolute(root, params.inbox.path)
    arrivals = take_in(inbox, _placed(root, params), fit=fit, quiet_s=params.inbox.quiet_s)
    write_text(_arrivals(root), json.dumps([asdict(arrival) for arrival in arrivals], indent=1) + "\n")
    return arrivals


def fetch(root: Path, *, on_line: OnLine) -> bool:
    """Fetch the results of other machines into DVC's cache.

    Returns:
        Whether a remote storage is configured.

    Raises:
        TransferFailedError: The storage does not answer.
    """
    if not dvc.has_remote(root):
        return False
    code, lines = dvc.call(root, "fetch", "--run-cache", on_line=on_line)
    _check(code, lines, "come from")
    return True


def is_stale(root: Path) -> bool:
    """Return whether the scenes of dataset.root, which DVC does not watch, differ from data/raw."""
    params = load_params(root / PARAMS)
    if params.dataset.name != "folder" or params.dataset.root is None:
        return False
    raw = RawScenes.in_project(root)
    if not (raw.path / raw.INDEX).is_file():
        return True
    return scenes_differ(_placed(root, params), raw.index()["scenes"])


def push(root: Path, *, on_line: OnLine) -> bool:
    """Push data, outputs and the run cache to the remote storage.

    Returns:
        Whether a remote storage is configured.

    Raises:
        TransferFailedError: The storage does not answer, or refuses.
    """
    if not dvc.has_remote(root):
        return False
    code, lines = dvc.call(root, "push", "--run-cache", on_line=on_line)
    _check(code, lines, "get to")
    return True


def _align(root: Path, params: Params, on_line: OnLine) -> None:
    """Check out dataset.root as in its .dvc file; keep files unknown to DVC, as after a kill."""
    place = _absolute(root, str(params.dataset.root))
    name = place.relative_to(root.resolve()).as_posix()
    if not place.with_name(f"{place.name}.dvc").is_file():
        return
    code, lines = dvc.call(root, "checkout", f"{name}.dvc", on_line=on_line)
    if code == 0:
        return
    code, lines = dvc.call(root, "data", "status", "--granular", "--json", on_line=on_line)
    try:
        found = json.loads(next(line for line in reversed(lines) if line.startswith("{")))["uncommitted"]
    except (StopIteration, ValueError, KeyError) as error:
        raise HsipipeError(f"DVC cannot list {name}: {_last(lines)}") from error
    here = {path.stem for path in place.iterdir()} if place.is_dir() else set()
    lost = [path for path in found.get("deleted", []) if path.startswith(f"{name}/") and _stem(path, name) not in here]
    if lost:
        raise DataError(
            f"{', '.join(sorted(lost)[:5])} of DVC's {name}.dvc is not in {name}, which also contains files unknown to "
            f"DVC; restore it with dvc checkout --force {name}.dvc, or remove it from DVC with dvc add {name}."
        )


def _stem(path: str, name: str) -> str:
    """Return the stem of the scene that a file in dataset.root belongs to."""
    return Path(Path(path).relative_to(name).parts[0]).stem


def _version(root: Path, params: Params, arrivals: Sequence[Arrival], on_line: OnLine) -> None:
    """Version dataset.root on every run: a killed run may have ingested without versioning."""
    place = _absolute(root, str(params.dataset.root))
    if not any(place.iterdir()):
        return
    name = place.relative_to(root.resolve()).as_posix()
    ignore = (place.parent.relative_to(root.resolve()) / ".gitignore").as_posix()
    was_clean = git(root, "status", "--porcelain", "--", ignore) == ""
    code, lines = dvc.call(root, "add", name, on_line=on_line)
    if code:
        raise HsipipeError(f"DVC cannot version {name}: {_last(lines)}")
    # The user's uncommitted changes in it stay uncommitted.
    commit(root, [f"{name}.dvc", *([ignore] if was_clean else [])], _message(arrivals))


def _message(arrivals: Sequence[Arrival]) -> str:
    came = [arrival.name for arrival in arrivals if arrival.outcome in ("new", "changed")]
    listed = [*came[:_MOST_NAMES], *([f"and {len(came) - _MOST_NAMES} more"] if len(came) > _MOST_NAMES else [])]
    return f"chore: scenes of the inbox ({', '.join(listed) or 'taken in before'})"


def _arrivals(root: Path) -> Path:
    return root / ".hsipipe" / "arrivals.json"


def _placed(root: Path, params: Params) -> DatasetParams:
    """Return the data set with an absolute root, independent of the working directory."""
    return params.dataset.model_copy(update={"root": str(_absolute(root, str(params.dataset.root)))})


def _present(root: Path) -> str:
    from hsipipe.artifacts import DegradedPairs

    pairs = DegradedPairs.in_project(root)
    try:
        test, val = pairs.names("test"), pairs.names("val")
    except HsipipeError:
        return "after a first run, those in data/pairs/pairs.json"
    return f"test_scenes: [{', '.join(test)}], val_scenes: [{', '.join(val)}]"


def _absolute(root: Path, path: str) -> Path:
    # Not resolve(): a link keeps its name.
    return Path(os.path.abspath(root.resolve() / Path(path).expanduser()))


def _check(code: int, lines: Sequence[str], direction: str) -> None:
    if code:
        raise TransferFailedError(f"Data did not {direction} the remote storage: {_last(lines)}")


def _last(lines: Sequence[str]) -> str:
    said = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if line.strip()][-3:]
    return one_line(" ".join(said) or "DVC gave no reason")
