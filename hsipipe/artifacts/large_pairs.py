"""Regions that are larger than the memory: their images stay in a store, or are copied into files of raw numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import NO_DATA, Mask, cell_means, coarse_valid, has_data, nearest_data
from hsipipe.artifacts.views import Cube, Masked, window_rows
from hsipipe.storage.stored_cube import StoreCube, StoredCube
from hsipipe.storage.stores import get_array

if TYPE_CHECKING:
    import zarr


def in_store(group: "zarr.Group") -> dict[str, Any]:
    """Return the images of a region as cubes of its store, 0 without data, and the mask of its valid pixels."""
    hr, lr = (StoreCube(get_array(group, key)) for key in ("hr", "lr"))
    msi = StoreCube(get_array(group, "msi")) if "msi" in group else None
    if NO_DATA not in group.attrs:
        return {"hr": hr, "lr": lr, "msi": msi}
    valid = _mask(hr)
    high = {name: cube and Masked(cube, valid) for name, cube in (("hr", hr), ("msi", msi))}
    return {**high, "lr": Masked(lr, _mask(lr)), "valid": valid}


def copied(group: "zarr.Group", folder: Path) -> dict[str, Any]:
    """Copy the images of a region into a folder, with pixels without data filled, but those of the truth, which are 0.

    Both rows and bands of the copies can be read by themselves; a chunk of the store holds all bands.

    Raises:
        DataError: The disk is too small.
    """
    images = in_store(group)
    made: dict[str, Any] = {
        name: _copy(cube, folder / f"{name}.npy") for name, cube in images.items() if name in ("hr", "lr", "msi")
    }
    valid = images.get("valid")
    if valid is not None:
        scale = made["hr"].shape[1] // made["lr"].shape[1]
        _fill(made["lr"], images["lr"].valid, scale=1)
        if made["msi"] is not None:
            _fill(made["msi"], valid, scale=scale)
    return {**made, "valid": valid}


def _mask(cube: Cube) -> Mask:
    return np.concatenate([has_data(cube[:, rows]) for rows in window_rows(cube.shape)])


def _copy(cube: Cube | None, path: Path) -> StoredCube | None:
    if cube is None:
        return None
    bands, height, width = cube.shape
    copy = StoredCube.create(path, (bands, height, width))
    for rows in window_rows(cube.shape):
        copy[:, rows] = cube[:, rows]
    return copy


def _fill(cube: StoredCube, valid: Mask, *, scale: int) -> None:
    """Fill pixels without data as :func:`hsipipe.artifacts.no_data.filled` does, window by window."""
    rows, columns = nearest_data(~coarse_valid(valid, scale))
    strips = [strip for strip in window_rows(cube.shape, multiple=scale) if not valid[strip].all()]
    means: Any = cube
    if scale > 1:
        parts = [cell_means(cube[:, strip], valid[strip], scale) for strip in window_rows(cube.shape, multiple=scale)]
        means = np.concatenate(parts, axis=1)
    for strip in strips:
        low = slice(strip.start // scale, strip.stop // scale)
        nearest: NDArray[Any] = means[:, rows[low], columns[low]]
        spread = nearest.repeat(scale, axis=1).repeat(scale, axis=2)
        cube[:, strip] = np.where(valid[strip], cube[:, strip], spread)
