"""New scenes of the data set `folder`: looked at in an inbox, taken in if they fit, quarantined with the reason if not.

A scene is copied and forced to disk before it leaves the inbox, its main file last: killed at any moment, the same
call again comes to the same end.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from hsipipe import formats
from hsipipe.datasets.base import Dataset
from hsipipe.datasets.folder import FOLDER
from hsipipe.datasets.prepare import check_msi, check_same_bands, check_scene
from hsipipe.datasets.splits import check_divides
from hsipipe.errors import DataError, HsipipeError, IntegrityError, MissingInputError
from hsipipe.params import DatasetParams
from hsipipe.storage.manifest import sha256
from hsipipe.storage.publish import atomic_file, atomic_folder, write_text

QUARANTINE = "quarantine"
"""Subfolder of the inbox for what was refused, each with ``<name>.reason.txt``."""
PLAUSIBLE = 4.0
"""Largest value that is still taken for a reflectance; a glint is above 1."""
FAINT = 1e-3
"""A scene that is nowhere brighter than that was scaled by something else than dataset.folder.full_scale."""

Outcome = Literal["new", "changed", "known", "quarantined", "waiting"]


@dataclass(frozen=True)
class Arrival:
    """What became of a scene of the inbox.

    Attributes:
        name: The scene's.
        outcome: "known" is one that dataset.root holds already, byte for byte; "waiting" one that may still be written.
        reason: Why it was quarantined or waits; empty otherwise.
    """

    name: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Fit:
    """What the pipeline asks of a scene's size.

    Attributes:
        scale: Ratio of the pixel sizes, s.
        crop_remainder: Whether a size that s does not divide is cut.
        patch: Edge of a patch in HR pixels.
    """

    scale: int
    crop_remainder: bool
    patch: int


def take_in(inbox: Path, dataset: DatasetParams, *, fit: Fit, quiet_s: float) -> list[Arrival]:
    """Move what arrived to where it belongs.

    Args:
        inbox: Folder in which scenes arrive, one file or folder each, with the companions of their format.
        dataset: The data set `folder`; its root gets the scenes that fit, and is made if it is not there.
        fit: What else is asked of them.
        quiet_s: A file that changed within these seconds is left alone.

    Returns:
        One entry a scene, sorted by name.

    Raises:
        MissingInputError: There is no inbox.
        ParamsError: `dataset` has no root.
        DataError: A scene of dataset.root is itself not fit, so that nothing can be compared with it.
    """
    if not inbox.is_dir():
        raise MissingInputError(f"inbox.path {str(inbox)!r} is no folder; make it, or set it to null.")
    facts = FOLDER.configure(dataset)
    root = Path(str(dataset.root)).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    arrivals = _refuse_namesakes(inbox)
    arrived = {name: path for name, path in facts.find(inbox).items() if path.name != QUARANTINE}
    place = _Place(inbox, root, facts, fit, quiet_s)
    for name, path in arrived.items():
        _heal(name, facts.files(name, path), root)
    held = _digests(facts, root) if arrived else {}
    arrivals += [_take(name, path, place, held) for name, path in arrived.items()]
    return sorted(arrivals, key=lambda arrival: arrival.name)


@dataclass(frozen=True)
class _Place:
    """Where scenes come from and go to, and what is asked of them."""

    inbox: Path
    root: Path
    facts: Dataset
    fit: Fit
    quiet_s: float


def _take(name: str, path: Path, place: _Place, held: dict[str, dict[str, str]]) -> Arrival:
    """One scene; `held` are the digests of the root's scenes, and follow."""
    files = place.facts.files(name, path)
    age = min(abs(time.time() - file.stat().st_mtime) for file in files.values())  # a clock may have been set back
    if age < place.quiet_s:
        return Arrival(
            name, "waiting", f"it changed {age:.0f} s ago, and is looked at after {place.quiet_s:g} s of rest"
        )
    digests = {target: sha256(source) for target, source in files.items()}
    try:
        if held.get(name) != digests:
            _refuse_links(path, files)
            _refuse_copies(name, digests, held)
            _check(name, path, place)
    except HsipipeError as error:
        _quarantine(name, path, files, place.inbox, str(error))
        return Arrival(name, "quarantined", str(error))
    outcome: Outcome = "known" if held.get(name) == digests else "changed" if name in held else "new"
    if outcome != "known":
        _copy(place.facts.location(name, path), files, place.root)
        _drop_others(name, files, place.root)
        held[name] = digests
    _leave(path, files)
    return Arrival(name, outcome)


def _heal(name: str, files: Mapping[str, Path], root: Path) -> None:
    """After a kill when the new version was there and the old one, of another format, not yet gone."""
    if len([cube for cube in filter(formats.is_cube, root.iterdir()) if cube.stem == name]) > 1:
        _drop_others(name, files, root)


def _check(name: str, path: Path, place: _Place) -> None:
    root, facts, fit = place.root, place.facts, place.fit
    entry = check_scene(facts, name, path)
    _, height, width = entry["shape"]
    if not fit.crop_remainder:
        check_divides(name, (height, width), fit.scale)
    if min(height, width) < fit.patch:
        raise DataError(
            f"Scene {name!r} has {height} x {width} pixels, expected at least {fit.patch} along each axis "
            "(patches.size)."
        )
    _check_range(name, facts.read(path), facts.scale)
    beside = facts.msi(name, root / path.name) if facts.msi(name, path) is None else None
    if beside is not None:  # it stays when the scene alone arrives anew
        check_msi(beside, name, (height, width))
    others = {other: there for other, there in facts.find(root).items() if other != name}
    for other, there in sorted(others.items())[:1]:  # those that are here fit each other
        check_same_bands([check_scene(facts, other, there), entry])


def _check_range(name: str, cube: xr.DataArray, full_scale: float) -> None:
    top = float(np.nanmax(cube.max(dim=("y", "x")).to_numpy())) / full_scale
    if not FAINT <= top <= PLAUSIBLE:
        raise DataError(
            f"Scene {name!r} has values up to {top:g} of the full range, expected about 1; store it in the units of "
            f"the other scenes, of which dataset.folder.full_scale ({full_scale:g}) means 1.0."
        )


def _refuse_namesakes(inbox: Path) -> list[Arrival]:
    """Quarantine cubes that differ in their suffix alone: which of them is the scene?"""
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(filter(formats.is_cube, inbox.iterdir())):
        if path.name != QUARANTINE:
            by_stem.setdefault(path.stem, []).append(path)
    arrivals = []
    for stem, paths in by_stem.items():
        if len(paths) > 1 and all(path.exists() for path in paths):
            names = " and ".join(path.name for path in paths)
            reason = f"Scene {stem!r} arrived twice, as {names}; send one of them."
            for path in paths:
                _quarantine(stem, path, {p.name: p for p in formats.companions(path)}, inbox, reason)
            arrivals.append(Arrival(stem, "quarantined", reason))
    return arrivals


def _refuse_links(path: Path, files: Mapping[str, Path]) -> None:
    parents = {parent for file in files.values() for parent in file.parents if parent.is_relative_to(path)}
    for entry in sorted({path, *files.values(), *parents}):
        if entry.is_symlink():
            raise DataError(f"{entry.name} is a link; send the file itself.")


def _refuse_copies(name: str, digests: Mapping[str, str], held: Mapping[str, Mapping[str, str]]) -> None:
    """The same bytes under two names would be in training and in test."""
    mine = sorted(digests.values())
    for other, theirs in held.items():
        if other != name and sorted(theirs.values()) == mine:
            raise DataError(f"Scene {name!r} has the same bytes as the scene {other!r}; a scene has one name.")


def _digests(facts: Dataset, root: Path) -> dict[str, dict[str, str]]:
    found = facts.find(root)
    return {
        name: {target: sha256(source) for target, source in facts.files(name, path).items()}
        for name, path in found.items()
    }


def _copy(location: str, files: Mapping[str, Path], root: Path) -> None:
    """Companions first: a scene is there once its main file is."""
    inside = {target: source for target, source in files.items() if target.startswith(f"{location}/")}
    for target in sorted(files.keys() - inside.keys(), key=lambda target: (target == location, target)):
        with atomic_file(root / target) as temporary:
            shutil.copyfile(files[target], temporary)
            _same(files[target], temporary)
    if inside:
        with atomic_folder(root / location) as folder:
            for target, source in inside.items():
                copy = folder / target.removeprefix(f"{location}/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                _same(source, copy)


def _same(source: Path, copy: Path) -> None:
    if sha256(source) != sha256(copy):
        raise IntegrityError(f"{source} changed while it was copied; wait until it is complete, then start again.")


def _drop_others(name: str, files: Mapping[str, Path], root: Path) -> None:
    """Remove what an earlier version of the scene had in a file of another format."""
    kept = {target.split("/")[0] for target in files}
    for path in sorted(filter(formats.is_cube, root.iterdir())):
        if path.stem == name and path.name not in kept:
            for entry in [path] if path.is_dir() else formats.companions(path):
                if entry.name not in kept:
                    _remove(entry)


def _quarantine(name: str, path: Path, files: Mapping[str, Path], inbox: Path, reason: str) -> None:
    """Move a scene aside; the reason is there before it, since what lies there without one helps nobody."""
    place = inbox / QUARANTINE
    place.mkdir(exist_ok=True)
    told = {"scene": name, "reason": reason, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    write_text(place / f"{path.name}.reason.txt", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    for entry in _entries(path, files):
        target = place / entry.name
        _remove(target)
        shutil.move(entry, target)


def _leave(path: Path, files: Mapping[str, Path]) -> None:
    """Remove a scene from the inbox, its main file first: the rest alone is no scene."""
    for entry in _entries(path, files):
        if entry.is_dir() and not entry.is_symlink():
            hidden = entry.with_name(f".{entry.name}.taken")
            _remove(hidden)
            os.rename(entry, hidden)
            entry = hidden
        _remove(entry)


def _entries(path: Path, files: Mapping[str, Path]) -> list[Path]:
    """What lies in the inbox for a scene, the main file or folder first."""
    beside = {file for file in files.values() if not file.is_relative_to(path)}
    folders = {file.parent if file.parent.parent == path.parent else file for file in beside}
    return [path, *sorted(folders)]


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def scenes_differ(dataset: DatasetParams, recorded: list[dict[str, Any]]) -> bool:
    """Whether dataset.root holds other scenes than those that were prepared.

    Args:
        dataset: The data set `folder`.
        recorded: The ``scenes`` of ``scenes.json``.

    Raises:
        MissingInputError: There is no dataset.root.
    """
    facts = FOLDER.configure(dataset)
    root = Path(str(dataset.root)).expanduser()
    if not root.is_dir():
        raise MissingInputError(f"dataset.root {dataset.root!r} is no folder. Expected there: {facts.layout}.")
    return _digests(facts, root) != {str(entry["name"]): dict(entry["sha256"]) for entry in recorded}
