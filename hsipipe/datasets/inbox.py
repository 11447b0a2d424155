"""Ingest new scenes of the data set `folder` from an inbox; quarantine those that fail a check, with the reason.

A scene is copied and synced to disk before it leaves the inbox, so a call that was killed at any moment can be repeated
with the same result. Any error with one scene is reported and does not stop the others; a scene is quarantined only for
what is wrong with the scene itself.
"""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hsipipe import formats
from hsipipe.datasets.admission import Fit, check_names, check_no_links, printable
from hsipipe.datasets.base import Dataset, copies
from hsipipe.datasets.examine import Scene, examine, limits_for
from hsipipe.datasets.folder import FOLDER
from hsipipe.datasets.prepare import check_scene
from hsipipe.datasets.quarantine import QUARANTINE, REASON, entries_of, quarantine
from hsipipe.errors import DataError, IntegrityError, MissingInputError, ParamsError, one_line
from hsipipe.params import DatasetParams
from hsipipe.storage.manifest import sha256
from hsipipe.storage.publish import atomic_file, atomic_folder

__all__ = ["QUARANTINE", "REASON", "Arrival", "Outcome", "check_apart", "scenes_differ", "take_in"]

Outcome = Literal["new", "changed", "known", "quarantined", "waiting"]


@dataclass(frozen=True)
class Arrival:
    """The outcome for one scene of the inbox.

    Attributes:
        name: Name of the scene, with escapes for what cannot be printed.
        outcome: "known": dataset.root already holds the same bytes. "waiting": the scene stays for a later call, since
            it may still be incomplete or cannot be examined now.
        reason: Reason for "quarantined" or "waiting", or why the scene cannot be removed from the inbox; else empty.
    """

    name: str
    outcome: Outcome
    reason: str = ""


def take_in(inbox: Path, dataset: DatasetParams, *, fit: Fit, quiet_s: float) -> list[Arrival]:
    """Move each scene of the inbox to dataset.root or to the quarantine.

    Args:
        inbox: Folder of new scenes, one file or folder per scene, with the companion files of its format.
        dataset: The data set `folder`. Its root receives the scenes, and is made if it does not exist.
        fit: Requirements on the size of a scene.
        quiet_s: Seconds since the last change of a file before it is read.

    Returns:
        One entry per scene, sorted by name.

    Raises:
        MissingInputError: The inbox does not exist.
        ParamsError: `dataset` has no root, or one of the two folders lies in the other.
        DataError: A scene of dataset.root itself fails a check, so it cannot serve as a reference.
    """
    if not inbox.is_dir():
        raise MissingInputError(f"inbox.path {str(inbox)!r} is not a folder; make it, or set inbox.path to null.")
    facts = FOLDER.configure(dataset)
    root = Path(str(dataset.root)).expanduser()
    check_apart(inbox, root)
    root.mkdir(parents=True, exist_ok=True)
    arrivals, cubes = _look_through(inbox)
    arrived = facts.scenes(cubes)
    for name, path in arrived.items():
        with suppress(Exception):  # told when the scene is ingested
            _finish_replacement(_parts(facts, name, path), root)
    if arrived:
        place = _Place(inbox, root, facts, fit, quiet_s, _descriptions(facts, root))
        held = _digests(facts, root)
        arrivals += [_ingest_or_pass_over(name, path, place, held) for name, path in arrived.items()]
    return sorted(arrivals, key=lambda arrival: arrival.name)


def check_apart(inbox: Path, root: Path) -> None:
    """Check that the inbox and the root are separate folders.

    Raises:
        ParamsError: The folders are the same, or one lies in the other.
    """
    one, other = inbox.resolve(), root.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ParamsError(
            f"inbox.path {str(inbox)!r} and dataset.root {str(root)!r} are the same folder, or one lies in the other; "
            "set two separate folders, since scenes are removed from the inbox."
        )


@dataclass(frozen=True)
class _Place:
    """Source, target and requirements of an ingest; `references` are two scenes of the root, or the first new ones."""

    inbox: Path
    root: Path
    facts: Dataset
    fit: Fit
    quiet_s: float
    references: dict[str, dict[str, Any]]


def _ingest_or_pass_over(name: str, path: Path, place: _Place, held: dict[str, dict[str, str]]) -> Arrival:
    try:
        return _ingest(name, path, place, held)
    except Exception as error:  # whatever it is, it must not stop the other scenes
        return Arrival(printable(name), "waiting", f"it cannot be taken in now: {printable(one_line(error))}")


def _ingest(name: str, path: Path, place: _Place, held: dict[str, dict[str, str]]) -> Arrival:
    """Ingest one scene and update `held`, the digests of the scenes in the root."""
    try:
        files = place.facts.files(name, path)
    except DataError as error:
        return _refuse(name, path, {path.name: path}, place.inbox, str(error))
    try:
        check_no_links(path, files)
        check_names(files)
    except DataError as error:
        return _refuse(name, path, files, place.inbox, str(error))
    age = min(abs(time.time() - file.stat().st_mtime) for file in files.values())  # abs: a clock may be set back
    if age < place.quiet_s:
        return Arrival(name, "waiting", f"changed {age:.0f} s ago; ingest starts {place.quiet_s:g} s after a change")
    scene = Scene(name, path, place.facts, place.root, place.fit, place.references, held)
    finding = examine(scene, limits_for(files))
    if finding.kind == "waiting":
        return Arrival(name, "waiting", printable(finding.reason))
    if finding.kind == "unfit":
        return _refuse(name, path, files, place.inbox, finding.reason)
    outcome: Outcome = "known" if held.get(name) == finding.digests else "changed" if name in held else "new"
    if outcome != "known":
        for location, part in _parts(place.facts, name, path):
            _copy(location, part, place.root)
            _drop_others(location, part, place.root)
        held[name] = finding.digests
        if finding.entry is not None:
            place.references.setdefault(name, finding.entry)
    try:
        _clear_inbox(path, files)
    except OSError as error:
        return Arrival(name, outcome, f"it cannot be removed from the inbox: {one_line(error)}")
    return Arrival(name, outcome)


def _refuse(name: str, path: Path, files: Mapping[str, Path], inbox: Path, reason: str) -> Arrival:
    name, reason = printable(name), printable(reason)
    try:
        quarantine(name, path, files, inbox, reason)
    except OSError as error:
        said = printable(one_line(error))
        return Arrival(name, "waiting", f"{reason} It cannot be moved to the quarantine: {said}")
    return Arrival(name, "quarantined", reason)


def _parts(facts: Dataset, name: str, path: Path) -> list[tuple[str, dict[str, Path]]]:
    """List the MSI of a scene, if delivered, and the scene itself: the location of each and its files."""
    files, msi = dict(facts.files(name, path)), facts.msi(name, path)
    parts = [] if msi is None else [(msi.location, copies(msi.path, msi.location))]
    taken = {target for _, part in parts for target in part}
    return [*parts, (facts.location(name, path), {k: file for k, file in files.items() if k not in taken})]


def _finish_replacement(parts: list[tuple[str, dict[str, Path]]], root: Path) -> None:
    """Remove an old version in another format that a killed ingest left next to the complete new one."""
    for location, files in parts:
        if all((root / target).is_file() and sha256(root / target) == sha256(file) for target, file in files.items()):
            _drop_others(location, files, root)


def _descriptions(facts: Dataset, root: Path) -> dict[str, dict[str, Any]]:
    """Describe two scenes of the root, all of one sensor; at least one of them differs from the new scene."""
    return {name: check_scene(facts, name, path) for name, path in sorted(facts.find(root).items())[:2]}


def _look_through(inbox: Path) -> tuple[list[Arrival], dict[str, Path]]:
    """Return the cubes of the inbox by name, and the outcome for everything else in it."""
    entries = [path for path in sorted(inbox.iterdir()) if path.name != QUARANTINE and not path.name.startswith(".")]
    cubes = [path for path in entries if _is_cube(path)]
    by_stem: dict[str, list[Path]] = {}
    for path in cubes:
        by_stem.setdefault(path.stem, []).append(path)
    arrivals = _ignored(entries, cubes)
    for stem, paths in by_stem.items():
        if len(paths) > 1:
            names = " and ".join(printable(path.name) for path in paths)
            reason = f"Scene {printable(stem)!r} was delivered twice, as {names}; deliver one of them."
            refused = [_refuse(stem, path, _companions(path), inbox, reason) for path in paths]
            arrivals.append(next((one for one in refused if one.outcome == "waiting"), refused[0]))
    return arrivals, {stem: paths[0] for stem, paths in by_stem.items() if len(paths) == 1}


def _is_cube(path: Path) -> bool:
    try:
        return formats.is_cube(path)
    except Exception:  # an entry that cannot be examined is none of the cubes
        return False


def _companions(path: Path) -> dict[str, Path]:
    try:
        return {file.name: file for file in formats.companions(path)}
    except Exception:
        return {path.name: path}


def _digests(facts: Dataset, root: Path) -> dict[str, dict[str, str]]:
    found = facts.find(root)
    return {
        name: {target: sha256(source) for target, source in facts.files(name, path).items()}
        for name, path in found.items()
    }


def _copy(location: str, files: Mapping[str, Path], root: Path) -> None:
    """Copy the files of a scene, companions first: a scene is complete once its main file exists."""
    inside = {target: source for target, source in files.items() if target.startswith(f"{location}/")}
    for target in sorted(files.keys() - inside.keys(), key=lambda target: (target == location, target)):
        with atomic_file(root / target) as temporary:
            shutil.copyfile(files[target], temporary)
            _check_copy(files[target], temporary)
    if inside:
        with atomic_folder(root / location) as folder:
            for target, source in inside.items():
                copy = folder / target.removeprefix(f"{location}/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                _check_copy(source, copy)


def _check_copy(source: Path, copy: Path) -> None:
    if sha256(source) != sha256(copy):
        raise IntegrityError(f"{source} changed during the copy; wait until it is complete, then start again.")


def _drop_others(location: str, files: Mapping[str, Path], root: Path) -> None:
    """Remove an earlier version of a cube that was stored in another format."""
    kept = {target.split("/")[0] for target in files}
    for path in sorted(filter(formats.is_cube, root.iterdir())):
        if path.stem == Path(location).stem and path.name not in kept:
            for entry in [path] if path.is_dir() else formats.companions(path):
                if entry.name not in kept:
                    _remove(entry)


def _clear_inbox(path: Path, files: Mapping[str, Path]) -> None:
    """Remove a scene from the inbox; after a kill, the rest is no scene or a known scene."""
    for entry in entries_of(path, files):
        if entry.is_dir() and not entry.is_symlink():
            hidden = entry.with_name(f".{entry.name}.taken")
            _remove(hidden)
            os.rename(entry, hidden)
            entry = hidden
        _remove(entry)


def _ignored(entries: Sequence[Path], cubes: Sequence[Path]) -> list[Arrival]:
    """Report the files of the inbox that are neither a cube nor a part of one."""
    names = {path.name for path in cubes}
    for path in filter(Path.is_file, cubes):
        names |= _companions(path).keys()
    reason = "unknown format or incomplete cube; the file stays in the inbox"
    return [Arrival(printable(entry.name), "waiting", reason) for entry in entries if entry.name not in names]


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def scenes_differ(dataset: DatasetParams, recorded: list[dict[str, Any]]) -> bool:
    """Return True if the scenes of dataset.root differ from the prepared ones.

    Args:
        dataset: The data set `folder`.
        recorded: Entry ``scenes`` of ``scenes.json``.

    Raises:
        MissingInputError: dataset.root does not exist.
    """
    facts = FOLDER.configure(dataset)
    root = Path(str(dataset.root)).expanduser()
    if not facts.is_place(root):
        raise MissingInputError(f"dataset.root {dataset.root!r} is not a folder. Expected there: {facts.layout}.")
    return _digests(facts, root) != {str(entry["name"]): dict(entry["sha256"]) for entry in recorded}
