"""May a new scene join those at hand? Asked before anything of it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.artifacts.scenes import keep_bands
from hsipipe.datasets.base import Dataset
from hsipipe.datasets.prepare import check_msi, check_same_bands, check_scene
from hsipipe.datasets.splits import check_divides
from hsipipe.errors import DataError

PLAUSIBLE = 4.0
"""Largest value that is still taken for a reflectance; a glint is above 1."""
FAINT = 1e-3
"""A scene that is nowhere brighter than that was scaled by something else than dataset.folder.full_scale."""


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


def check_fit(
    name: str, path: Path, *, facts: Dataset, root: Path, fit: Fit, references: dict[str, dict[str, Any]]
) -> None:
    """Check a scene that arrived.

    Args:
        name: What it is called.
        path: Where it is.
        facts: The data set.
        root: Where its scenes are kept.
        fit: What the pipeline asks of its size.
        references: Scenes that are kept, as :func:`hsipipe.datasets.prepare.check_scene` describes them; a fit one
            joins them.

    Raises:
        DataError: It is not fit for use, or does not belong to the others.
        HsipipeError: It cannot be read.
    """
    scene = name.removesuffix("_msi")
    if scene != name and scene in facts.find(root):
        raise DataError(f"{path.name} is the multispectral image of the scene {scene!r}; send it together with that.")
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
    beside = facts.msi(name, root / path.name) if facts.msi(name, path) is None else None
    if beside is not None:  # it stays when the scene alone arrives anew
        check_msi(beside, name, (height, width))
    for other, reference in references.items():
        if other != name:
            check_same_bands([reference, entry])
    references.setdefault(name, entry)


def _check_range(name: str, cube: xr.DataArray, full_scale: float) -> None:
    top = float(np.nanmax(cube.max(dim=("y", "x")).to_numpy())) / full_scale
    if not FAINT <= top <= PLAUSIBLE:
        raise DataError(
            f"Scene {name!r} has values up to {top:g} of the full range, expected about 1; store it in the units of "
            f"the other scenes, of which dataset.folder.full_scale ({full_scale:g}) means 1.0."
        )


def check_no_links(path: Path, files: Mapping[str, Path]) -> None:
    """Check that a scene at `path`, which consists of `files`, is there itself.

    Raises:
        DataError: A part of it is a link.
    """
    parents = {parent for file in files.values() for parent in file.parents if parent.is_relative_to(path)}
    for entry in sorted({path, *files.values(), *parents}):
        if entry.is_symlink():
            raise DataError(f"{entry.name} is a link; send the file itself.")


def check_not_held(name: str, digests: Mapping[str, str], held: Mapping[str, Mapping[str, str]]) -> None:
    """Check that a scene is not here under another name: it would be in training and in test.

    Args:
        name: The scene.
        digests: Its files and their sha256.
        held: The same of each scene that is kept.

    Raises:
        DataError: It is.
    """
    mine = sorted(digests.values())
    for other, theirs in held.items():
        if other != name and sorted(theirs.values()) == mine:
            raise DataError(f"Scene {name!r} has the same bytes as the scene {other!r}; a scene has one name.")
