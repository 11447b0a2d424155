"""New data: from the inbox into dataset.root and DVC, and out of and into the remote storage."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hsipipe.artifacts import RawScenes
from hsipipe.datasets.inbox import Arrival, Fit, scenes_differ, take_in
from hsipipe.datasets.prepare import scene_index
from hsipipe.errors import HsipipeError, ParamsError, TransferFailedError
from hsipipe.params import Params, load_params
from tasks import ledger
from tasks.git import commit, git
from tasks.project import PARAMS

OnLine = Callable[[str], object]


def check_retraining(root: Path) -> None:
    """Check, before hours are spent, that params.yaml is fit for data that changes.

    Raises:
        ParamsError: An inbox without a data set `folder` in the project, or a split that each new scene would redraw.
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
            f"dataset.root {dataset.root!r} lies outside of {root}, where DVC cannot version it; name a folder in it."
        )
    inbox = _absolute(root, params.inbox.path)
    if inbox.is_relative_to(root.resolve()) and git(root, "check-ignore", "--quiet", str(inbox / "x")) is None:
        raise ParamsError(
            f"inbox.path {params.inbox.path!r} lies in the project and git does not ignore it, so that what waits "
            "there would count as an uncommitted change; add it to .gitignore, or name a folder elsewhere."
        )
    if split.by in ("auto", "scene") and not (split.test_scenes and split.val_scenes):
        raise ParamsError(
            "split.test_scenes and split.val_scenes are drawn among all scenes, so that each new one would redraw them "
            "and the champion would be judged on scenes that it was trained on; name them, for example the present "
            f"ones: {_present(root)}."
        )


def receive(root: Path, *, on_line: OnLine) -> list[Arrival]:
    """Take in what arrived, version it with DVC, and see that the stage download notices any change.

    Returns:
        What became of each scene of the inbox.

    Raises:
        HsipipeError: See :func:`hsipipe.datasets.inbox.take_in`; DVC or git refuses.
    """
    params = load_params(root / PARAMS)
    if params.dataset.name != "folder" or params.dataset.root is None:
        return []
    arrivals = _take_in(root, params, on_line)
    if _is_stale(root, params):
        # DVC does not look into dataset.root.
        ledger.repro(root, "download", on_line=on_line, force=True)
    return arrivals


def fetch(root: Path, *, on_line: OnLine) -> bool:
    """Bring what other machines have made into DVC's cache, and dataset.root if it is versioned and not here.

    Returns:
        Whether there is a remote storage.

    Raises:
        TransferFailedError: It does not answer.
    """
    params = load_params(root / PARAMS)
    there = ledger.remotes(root)
    if there:
        code, lines = ledger.dvc(root, "fetch", "--run-cache", on_line=on_line)
        _check(code, lines, "come from")
    versioned = None if params.dataset.root is None else _absolute(root, params.dataset.root)
    if versioned is not None and not versioned.exists() and versioned.with_name(f"{versioned.name}.dvc").is_file():
        code, lines = ledger.dvc(root, "checkout", f"{versioned.relative_to(root.resolve())}.dvc", on_line=on_line)
        _check(code, lines, "come from")
    return there


def push(root: Path, *, on_line: OnLine) -> bool:
    """Bring data, outputs and the cache of runs to the remote storage.

    Returns:
        Whether there is one.

    Raises:
        TransferFailedError: It does not answer, or refuses.
    """
    if not ledger.remotes(root):
        return False
    code, lines = ledger.dvc(root, "push", "--run-cache", on_line=on_line)
    _check(code, lines, "get to")
    return True


def _take_in(root: Path, params: Params, on_line: OnLine) -> list[Arrival]:
    if params.inbox.path is None:
        return []
    place = _absolute(root, str(params.dataset.root))
    fit = Fit(params.degradation.scale, params.degradation.crop_remainder, params.patches.size)
    dataset = params.dataset.model_copy(update={"root": str(place)})
    arrivals = take_in(_absolute(root, params.inbox.path), dataset, fit=fit, quiet_s=params.inbox.quiet_s)
    for arrival in arrivals:
        on_line(f"{arrival.name}: {arrival.outcome}{f' ({arrival.reason})' if arrival.reason else ''}")
    if any(place.iterdir()):  # versioned each time: a run that was killed may have taken in and not versioned
        name = place.relative_to(root.resolve()).as_posix()
        code, lines = ledger.dvc(root, "add", name, on_line=on_line)
        if code:
            raise HsipipeError(f"DVC cannot version {name}: {_last(lines)}")
        ignore = place.parent.relative_to(root.resolve()) / ".gitignore"
        commit(root, [f"{name}.dvc", ignore.as_posix()], _message(arrivals))
    return arrivals


def _message(arrivals: Sequence[Arrival]) -> str:
    came = [arrival.name for arrival in arrivals if arrival.outcome in ("new", "changed")]
    return f"chore: scenes of the inbox ({', '.join(came) or 'taken in before'})"


def _is_stale(root: Path, params: Params) -> bool:
    raw = RawScenes.in_project(root)
    if not (raw.path / "scenes.json").is_file():
        return False  # download runs anyway
    place = str(_absolute(root, str(params.dataset.root)))
    return scenes_differ(params.dataset.model_copy(update={"root": place}), scene_index(raw)["scenes"])


def _present(root: Path) -> str:
    from hsipipe.artifacts import DegradedPairs
    from hsipipe.degradation.pairs import pair_names

    pairs = DegradedPairs.in_project(root)
    try:
        test, val = pair_names(pairs, "test"), pair_names(pairs, "val")
    except HsipipeError:
        return "after a first run, those in data/pairs/pairs.json"
    return f"test_scenes: [{', '.join(test)}], val_scenes: [{', '.join(val)}]"


def _absolute(root: Path, path: str) -> Path:
    # Not resolve(): a link stays what a person has called it.
    return Path(os.path.abspath(root.resolve() / Path(path).expanduser()))


def _check(code: int, lines: Sequence[str], direction: str) -> None:
    if code:
        raise TransferFailedError(f"Data did not {direction} the remote storage: {_last(lines)}")


def _last(lines: Sequence[str]) -> str:
    said = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if line.strip()][-3:]
    return " ".join(" ".join(said).split()) or "DVC gave no reason"
