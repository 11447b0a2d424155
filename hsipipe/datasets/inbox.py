"""New scenes of the data set `folder`: looked at in an inbox, taken in if they fit, quarantined with the reason if not.

A scene is copied and forced to disk before it leaves the inbox: killed at any moment, the same call again comes to the
same end.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hsipipe import formats
from hsipipe.datasets.admission import Fit, check_fit, check_no_links, check_not_held
from hsipipe.datasets.base import Dataset, copies
from hsipipe.datasets.folder import FOLDER
from hsipipe.datasets.prepare import check_scene
from hsipipe.errors import DataError, HsipipeError, IntegrityError, MissingInputError, ParamsError
from hsipipe.params import DatasetParams
from hsipipe.storage.manifest import sha256
from hsipipe.storage.publish import atomic_file, atomic_folder, write_text

QUARANTINE = "quarantine"
"""Subfolder of the inbox for what was refused, each scene in a folder of its own."""
REASON = "reason.json"
"""Why it was, beside it."""
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
        ParamsError: `dataset` has no root, or one that is in the inbox or holds it.
        DataError: A scene of dataset.root is itself not fit, so that nothing can be compared with it.
    """
    if not inbox.is_dir():
        raise MissingInputError(f"inbox.path {str(inbox)!r} is no folder; make it, or set it to null.")
    facts = FOLDER.configure(dataset)
    root = Path(str(dataset.root)).expanduser()
    check_apart(inbox, root)
    root.mkdir(parents=True, exist_ok=True)
    arrivals = _ignored(inbox) + _refuse_namesakes(inbox)
    arrived = {name: path for name, path in facts.find(inbox).items() if path.name != QUARANTINE}
    if not arrived:
        return arrivals
    for name, path in arrived.items():
        _heal(_parts(facts, name, path), root)
    place = _Place(inbox, root, facts, fit, quiet_s, _descriptions(facts, root))
    held = _digests(facts, root)
    arrivals += [_attempt(name, path, place, held) for name, path in arrived.items()]
    return sorted(arrivals, key=lambda arrival: arrival.name)


def check_apart(inbox: Path, root: Path) -> None:
    """Check that what leaves the inbox cannot be what is kept.

    Raises:
        ParamsError: One folder is the other, or lies in it.
    """
    one, other = inbox.resolve(), root.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ParamsError(
            f"inbox.path {str(inbox)!r} and dataset.root {str(root)!r} are one folder, or one lies in the other; "
            "scenes leave the inbox, so name two that are apart."
        )


@dataclass(frozen=True)
class _Place:
    """Where scenes come from and go to, and what is asked of them: `references` are two scenes of the root at most."""

    inbox: Path
    root: Path
    facts: Dataset
    fit: Fit
    quiet_s: float
    references: dict[str, dict[str, Any]]


def _attempt(name: str, path: Path, place: _Place, held: dict[str, dict[str, str]]) -> Arrival:
    """One scene; a file of the inbox that cannot be read, or that somebody takes away, keeps no other waiting."""
    try:
        return _take(name, path, place, held)
    except (PermissionError, FileNotFoundError) as error:
        if error.filename is None or not Path(error.filename).is_relative_to(place.inbox):
            raise
        return Arrival(name, "waiting", f"{Path(error.filename).name} cannot be read ({error.strerror})")


def _take(name: str, path: Path, place: _Place, held: dict[str, dict[str, str]]) -> Arrival:
    """One scene; `held` are the digests of the root's scenes, and follow."""
    files = place.facts.files(name, path)
    try:
        check_no_links(path, files)
    except DataError as error:
        return _refuse(name, path, files, place.inbox, error)
    age = min(abs(time.time() - file.stat().st_mtime) for file in files.values())  # a clock may have been set back
    if age < place.quiet_s:
        return Arrival(
            name, "waiting", f"it changed {age:.0f} s ago, and is looked at after {place.quiet_s:g} s of rest"
        )
    digests = {target: sha256(source) for target, source in files.items()}
    try:
        if held.get(name) != digests:
            check_not_held(name, digests, held)
            check_fit(name, path, facts=place.facts, root=place.root, fit=place.fit, references=place.references)
    except HsipipeError as error:
        if isinstance(error, ParamsError) and not place.references:
            raise  # where scenes are here that fit params.yaml, it is the new one that does not
        return _refuse(name, path, files, place.inbox, error)
    outcome: Outcome = "known" if held.get(name) == digests else "changed" if name in held else "new"
    if outcome != "known":
        for location, part in _parts(place.facts, name, path):
            _copy(location, part, place.root)
            _drop_others(location, part, place.root)
        held[name] = digests
    _leave(path, files)
    return Arrival(name, outcome)


def _refuse(name: str, path: Path, files: Mapping[str, Path], inbox: Path, error: Exception) -> Arrival:
    _quarantine(name, path, files, inbox, str(error))
    return Arrival(name, "quarantined", str(error))


def _parts(facts: Dataset, name: str, path: Path) -> list[tuple[str, dict[str, Path]]]:
    """The multispectral image of a scene, if it came, and the scene: where each goes, and its files."""
    files, msi = dict(facts.files(name, path)), facts.msi(name, path)
    parts = [] if msi is None else [(msi.location, copies(msi.path, msi.location))]
    taken = {target for _, part in parts for target in part}
    return [*parts, (facts.location(name, path), {k: file for k, file in files.items() if k not in taken})]


def _heal(parts: list[tuple[str, dict[str, Path]]], root: Path) -> None:
    """After a kill when the new version was there, whole, and the old one, of another format, not yet gone."""
    for location, files in parts:
        if all((root / target).is_file() and sha256(root / target) == sha256(file) for target, file in files.items()):
            _drop_others(location, files, root)


def _descriptions(facts: Dataset, root: Path) -> dict[str, dict[str, Any]]:
    """Two scenes of the root, which has those of one sensor: one of them is another than the one that arrives."""
    return {name: check_scene(facts, name, path) for name, path in sorted(facts.find(root).items())[:2]}


def _refuse_namesakes(inbox: Path) -> list[Arrival]:
    """Quarantine cubes that differ in their suffix alone: which of them is the scene?"""
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(filter(formats.is_cube, inbox.iterdir())):
        if path.name != QUARANTINE:
            by_stem.setdefault(path.stem, []).append(path)
    arrivals = []
    for stem, paths in by_stem.items():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            reason = f"Scene {stem!r} arrived twice, as {names}; send one of them."
            for path in paths:
                _quarantine(stem, path, {p.name: p for p in formats.companions(path)}, inbox, reason)
            arrivals.append(Arrival(stem, "quarantined", reason))
    return arrivals


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


def _drop_others(location: str, files: Mapping[str, Path], root: Path) -> None:
    """Remove what an earlier version of a cube had in a file of another format."""
    kept = {target.split("/")[0] for target in files}
    for path in sorted(filter(formats.is_cube, root.iterdir())):
        if path.stem == Path(location).stem and path.name not in kept:
            for entry in [path] if path.is_dir() else formats.companions(path):
                if entry.name not in kept:
                    _remove(entry)


def _quarantine(name: str, path: Path, files: Mapping[str, Path], inbox: Path, reason: str) -> None:
    """Move a scene into a folder of its own; the reason is there first, since a file without one helps nobody."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    # Numbered: what stands aside already stays as it is.
    places = (inbox / QUARANTINE / f"{name}.{now}{number}" for number in ("", *(f".{n}" for n in range(1, 1000))))
    place = next(place for place in places if not place.exists())
    place.mkdir(parents=True)
    told = {"scene": name, "reason": reason, "at": now}
    write_text(place / REASON, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    for entry in _entries(path, files):
        shutil.move(entry, place / entry.name)


def _leave(path: Path, files: Mapping[str, Path]) -> None:
    """Remove a scene from the inbox; killed in between, what is left is no scene, or a scene that is known."""
    for entry in _entries(path, files):
        if entry.is_dir() and not entry.is_symlink():
            hidden = entry.with_name(f".{entry.name}.taken")
            _remove(hidden)
            os.rename(entry, hidden)
            entry = hidden
        _remove(entry)


def _entries(path: Path, files: Mapping[str, Path]) -> list[Path]:
    """What lies in the inbox for a scene: its multispectral image, the main file, and then what is no cube alone."""
    folder = path.parent
    found = {folder / file.relative_to(folder).parts[0] for file in files.values()} | {path}
    images = {entry for entry in found if entry != path and formats.is_cube(entry) and entry.stem != path.stem}
    return [*sorted(images), path, *sorted(found - images - {path})]


def _ignored(inbox: Path) -> list[Arrival]:
    """What lies there and is no cube, nor a part of one."""
    cubes = [path for path in inbox.iterdir() if formats.is_cube(path)]
    parts = {entry.name for path in cubes if path.is_file() for entry in formats.companions(path)}
    names = parts | {path.name for path in cubes} | {QUARANTINE}
    reason = "nothing here reads it, or a part of it is missing; it is left where it is"
    return [
        Arrival(entry.name, "waiting", reason)
        for entry in sorted(inbox.iterdir())
        if entry.name not in names and not entry.name.startswith(".")
    ]


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
