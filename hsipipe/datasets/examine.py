"""Examine a new scene in a child process with limits, so that a reader that crashes or hangs stops nothing else.

Only what is wrong with the scene itself refuses it. Errors of the machine, such as too little memory, leave it for a
later run.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hsipipe.datasets.admission import Fit, check_fit, check_no_duplicate
from hsipipe.datasets.base import Dataset
from hsipipe.errors import HsipipeError, ParamsError, one_line
from hsipipe.formats import FORMATS
from hsipipe.formats.products import PRODUCTS
from hsipipe.isolation import Limits, UnansweredError, run_limited
from hsipipe.machine import machine_trouble
from hsipipe.memory import available_memory
from hsipipe.storage.manifest import sha256

_CPU_S, _BYTES_PER_CPU_S, _MOST_CPU_S = 300.0, 5e6, 3600.0
"""CPU time of an examination: a base, the slowest plausible reading, and the largest value."""
_SHARE_OF_MEMORY = 0.8
"""Share of the memory now available that an examination may take."""


@dataclass(frozen=True)
class Scene:
    """A new scene and the requirements on it.

    Attributes:
        name: Name of the scene.
        path: Path of the scene.
        facts: The data set.
        root: Folder of the stored scenes.
        fit: Requirements on the size.
        references: Stored scenes, as :func:`hsipipe.datasets.prepare.check_scene` describes them.
        held: Digests of all stored scenes.
    """

    name: str
    path: Path
    facts: Dataset
    root: Path
    fit: Fit
    references: Mapping[str, dict[str, Any]]
    held: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Finding:
    """Result of an examination.

    Attributes:
        kind: "waiting": nothing is known against the scene, which could not be examined now.
        reason: Reason for "unfit" or "waiting"; empty otherwise.
        digests: sha256 of each file of a fit scene.
        entry: Description of a fit scene with new content.
    """

    kind: Literal["fit", "unfit", "waiting"]
    reason: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    entry: dict[str, Any] | None = None


def limits_for(files: Mapping[str, Path]) -> Limits:
    """Return the limits for a scene with these files; that of memory is most of the memory now available."""
    size = sum(file.stat().st_size for file in files.values())
    cpu_s = min(_CPU_S + size / _BYTES_PER_CPU_S, _MOST_CPU_S)
    return Limits(cpu_s, 2 * cpu_s, int(available_memory()[0] * _SHARE_OF_MEMORY))


def examine(scene: Scene, limits: Limits) -> Finding:
    """Examine a scene in a child process.

    Args:
        scene: The scene.
        limits: Its limits of time and memory.

    Returns:
        The finding. A scene that uses up its CPU time is unfit. One whose reader crashes, or waits for a disk for too
        long, is waiting, since this may be due to the machine.
    """
    readers = [type(form).__module__ for form in (*FORMATS.values(), *PRODUCTS.values())]
    try:
        return Finding(**run_limited(_examine, scene, limits=limits, preload=readers))
    except UnansweredError as error:
        return _unanswered(error, limits)


def _unanswered(error: UnansweredError, limits: Limits) -> Finding:
    if error.code is None:
        return Finding("waiting", f"it was not read within {limits.wall_s:.0f} s; look at its disk, or remove it")
    if error.is_late:
        reason = f"It was not read within {limits.cpu_s:.0f} s of CPU time; its content is damaged or hostile."
        return Finding("unfit", reason)
    cause = "probably for lack of memory" if error.code == -signal.SIGKILL else "its content may be damaged"
    return Finding("waiting", f"its reader ended with {error}, {cause}; repair or remove it")


def _examine(scene: Scene) -> dict[str, Any]:
    return vars(_find(scene))


def _find(scene: Scene) -> Finding:
    references = dict(scene.references)
    try:
        files = scene.facts.files(scene.name, scene.path)
        digests = {target: sha256(source) for target, source in files.items()}
        if scene.held.get(scene.name) == digests:
            return Finding("fit", digests=digests)
        check_no_duplicate(scene.name, digests, scene.held)
        check_fit(scene.name, scene.path, facts=scene.facts, root=scene.root, fit=scene.fit, references=references)
        return Finding("fit", digests=digests, entry=references.get(scene.name))
    except Exception as error:
        return _judge(error, has_references=bool(scene.references))


def _judge(error: Exception, *, has_references: bool) -> Finding:
    """Tell what is wrong with the scene from what is wrong with the machine, the parameters or the code."""
    if trouble := machine_trouble(error):
        return Finding("waiting", f"it cannot be read now: {trouble[1]}")
    if isinstance(error, FileNotFoundError):
        return Finding("waiting", f"a file has gone: {one_line(error)}")
    # Without a stored scene that fits params.yaml, the parameters are at fault, not the new scene.
    if isinstance(error, HsipipeError) and (has_references or not isinstance(error, ParamsError)):
        return Finding("unfit", str(error))
    return Finding(
        "waiting", one_line(error) if isinstance(error, HsipipeError) else f"{type(error).__name__}: {error}"
    )
