"""Admission of new scenes: checks that run before any file of a scene is kept."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.artifacts.no_data import NO_DATA, Mask, has_data
from hsipipe.artifacts.scenes import keep_bands
from hsipipe.datasets.base import Dataset, Measured
from hsipipe.datasets.prepare import check_msi, check_same_bands, check_scene
from hsipipe.datasets.splits import check_divides
from hsipipe.degradation.masked import LEAST_WEIGHT
from hsipipe.errors import DataError
from hsipipe.formats import open_cube
from hsipipe.full_scale import FAINT, PLAUSIBLE
from hsipipe.params import PatchesParams
from hsipipe.patches.grid import patch_origins, valid_shares
from hsipipe.storage.stores import rows_per_chunk

LONGEST_NAME = 200
"""Longest name in bytes; later stages add to it, and file systems allow 255."""


@dataclass(frozen=True)
class Fit:
    """Requirements of the pipeline on the size of a scene and on its pixels with data.

    Attributes:
        scale: Ratio of the pixel sizes, s.
        crop_remainder: If True, crop a scene to a multiple of s instead of refusing it.
        patches: Size and stride of the patches, and the share of a patch that must have data.
        uses_msi: If True, the pipeline uses the measured MSI of a scene, whose holes then are those of the pair.
    """

    scale: int
    crop_remainder: bool
    patches: PatchesParams
    uses_msi: bool


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
    if min(height, width) < fit.patches.size:
        raise DataError(
            f"Scene {name!r} has {height} x {width} pixels, expected at least {fit.patches.size} along each axis "
            "(patches.size)."
        )
    cube = keep_bands(facts.read(path), facts.drop_bands)
    _check_range(name, cube, facts.scale)
    msi, msi_has_holes = facts.msi(name, path), NO_DATA in entry.get("msi", {})
    if msi is None and (msi := facts.msi(name, root / path.name)) is not None:
        # A new version of the scene alone keeps the stored MSI.
        msi_has_holes = check_msi(msi, name, (height, width)) > 0
    if NO_DATA in entry or (fit.uses_msi and msi_has_holes):
        _check_data(name, cube, msi if fit.uses_msi else None, fit)
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


def _check_data(name: str, cube: xr.DataArray, msi: Measured | None, fit: Fit) -> None:
    """Check that a patch has enough pixels with data; without one, the scene would stop the stages after it.

    An LR pixel counts as in the simulation, but for pixels of the same size that average the HR pixels.
    """
    size, stride = fit.patches.size, fit.patches.stride
    height, width = (extent // fit.scale * fit.scale for extent in cube.shape[1:])
    valid = _valid(cube)
    if msi is not None:
        valid = valid & _valid(open_cube(msi.path, variable=msi.variable))
    cells = valid[:height, :width].reshape(height // fit.scale, fit.scale, width // fit.scale, fit.scale)
    seen = cells.mean(axis=(1, 3), keepdims=True) >= LEAST_WEIGHT
    origins = patch_origins(name, (height, width), size=size, stride=stride, scale=fit.scale)
    best = float(valid_shares((cells & seen).reshape(height, width), origins, size).max())
    if best < fit.patches.least_valid:
        raise DataError(
            f"Scene {name!r} has no patch of {size} x {size} pixels with data in {fit.patches.least_valid:.0%} of them "
            f"(patches.least_valid), the best has {best:.0%}; deliver a scene with more data."
        )


def _valid(cube: xr.DataArray) -> Mask:
    """Return the pixels (H, W) with data in every band, read in strips."""
    step = rows_per_chunk(cube.shape)
    return np.concatenate([has_data(cube[:, y : y + step].values) for y in range(0, cube.shape[1], step)])


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
