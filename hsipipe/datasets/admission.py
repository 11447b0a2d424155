"""Admission of new scenes: checks that run before any file of a scene is kept."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.artifacts.scenes import keep_bands
from hsipipe.datasets.base import Dataset
from hsipipe.datasets.prepare import check_msi, check_same_bands, check_scene
from hsipipe.datasets.splits import check_divides
from hsipipe.errors import DataError
from hsipipe.full_scale import FAINT, PLAUSIBLE

LONGEST_NAME = 200
"""Longest name in bytes; later stages add to it, and file systems allow 255."""


@dataclass(frozen=True)
class Fit:
    """Requirements of the pipeline on the size of a scene.

    Attributes:
        scale: Ratio of the pixel sizes, s.
        crop_remainder: If True, crop a scene to a multiple of s instead of refusing it.
        patch: Edge of a patch in HR pixels.
    """

    scale: int
    crop_remainder: bool
    patch: int


def check_fit(
    name: str, path: Path, *, facts: Dataset, root: Path, fit: Fit, references: dict[str, dict[str, Any]]
) -> None:
    """Check a new scene against the pipeline and the scenes already stored.

    Args:
        name: Name of the scene.
        path: Path of the scene.
        facts: The data set.
        root: Folder of the stored scenes.
        fit: Requirements on the size.
        references: Stored scenes, as :func:`hsipipe.datasets.prepare.check_scene` describes them. A scene that passes
            is added.

    Raises:
        DataError: The scene fails a check, or its bands differ from those of the references.
        HsipipeError: The scene cannot be read.
    """
    scene = name.removesuffix("_msi")
    if scene != name and scene in facts.find(root):
        raise DataError(f"{path.name} is the multispectral image of scene {scene!r}; deliver both files together.")
    entry = check_scene(facts, name, path)
    _, height, width = entry["shape"]
    if not fit.crop_remainder:
        check_divides(name, (height, width), fit.scale)
    if min(height, width) < fit.patch:
        raise DataError(
            f"Scene {name!r} has {height} x {width} pixels, expected at least {fit.patch} along each axis "
            "(patches.size)."
        )
    _check_range(name, keep_bands(facts.read(path), facts.drop_bands), facts.scale)
    stored = facts.msi(name, root / path.name) if facts.msi(name, path) is None else None
    if stored is not None:  # a new version of the scene alone keeps the stored MSI
        check_msi(stored, name, (height, width))
    for other, reference in references.items():
        if other != name:
            check_same_bands([reference, entry])
    references.setdefault(name, entry)


def _check_range(name: str, cube: xr.DataArray, full_scale: float) -> None:
    top = float(np.nanmax(cube.max(dim=("y", "x")).to_numpy())) / full_scale
    if not FAINT <= top <= PLAUSIBLE:
        raise DataError(
            f"Scene {name!r} has a maximum of {top:g} after division by dataset.folder.full_scale ({full_scale:g}), "
            f"expected {FAINT:g} to {PLAUSIBLE:g}; store it in the units of the other scenes."
        )


def check_names(files: Mapping[str, Path]) -> None:
    """Refuse names that the later stages, DVC or git cannot write.

    Args:
        files: Files of the scene: path in the artifact -> file.

    Raises:
        DataError: A name is too long, is not UTF-8 or has control characters.
    """
    for target in sorted(files):
        size = max(len(os.fsencode(part)) for part in PurePosixPath(target).parts)
        if size > LONGEST_NAME:
            raise DataError(
                f"A name has {size} bytes, expected at most {LONGEST_NAME}; deliver it under a shorter name."
            )
        if not target.isprintable():  # bytes that are not UTF-8 are surrogates, which are not printable
            raise DataError(
                f"The name {printable(target)} is not UTF-8 or has control characters; deliver it under another name."
            )


def printable(text: str) -> str:
    """Return a text in which each character can be printed and stored; other bytes and characters are escaped."""
    shown = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def check_no_links(path: Path, files: Mapping[str, Path]) -> None:
    """Refuse a scene at `path` that holds anything but regular files, such as links or pipes.

    Args:
        path: Path of the scene.
        files: Files of the scene: path in the artifact -> file.

    Raises:
        DataError: A file or folder of the scene is a link, or an entry of its folder is neither a file nor a folder.
    """
    parents = {parent for file in files.values() for parent in file.parents if parent.is_relative_to(path)}
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    for entry in sorted({path, *files.values(), *parents, *inside}):
        if entry.is_symlink():
            raise DataError(f"{entry.name} is a symbolic link, expected a regular file; deliver the file itself.")
        if not entry.is_file() and not entry.is_dir():
            raise DataError(f"{entry.name} is neither a file nor a folder; deliver regular files.")


def check_no_duplicate(name: str, digests: Mapping[str, str], held: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a scene that is stored under another name: it could end up in both training and test.

    Args:
        name: Name of the scene.
        digests: sha256 of each file of the scene.
        held: The same for each stored scene.

    Raises:
        DataError: A stored scene has the same bytes.
    """
    mine = sorted(digests.values())
    for other, theirs in held.items():
        if other != name and sorted(theirs.values()) == mine:
            raise DataError(f"Scene {name!r} has the same bytes as scene {other!r}; keep one of the two.")
