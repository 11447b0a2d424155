"""Training patches of one scene, cut from memory when they are read; none has a pixel without data."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsipipe.artifacts.patch_arrays import PatchArrays, turn
from hsipipe.inference.plan import Box
from hsipipe.patches.grid import starts
from hsipipe.sharpen.reduced import Reduced

LARGEST, SMALLEST = 16, 4
"""Edge of a patch in LR pixels, largest and smallest."""
FEWEST = 8
"""Number of patches below which smaller ones are tried."""


class ScenePatches(PatchArrays):
    """Patches of a scene, with the interface of a store.

    Args:
        reduced: The scene and its degradation.
        corners: Upper left corners (N, 2) in LR pixels.
        edge: Edge of a patch in LR pixels.
        wavelength_nm: Band centres (C,) in nm; None: unknown.
    """

    def __init__(
        self,
        reduced: Reduced,
        corners: NDArray[np.int64],
        *,
        edge: int,
        wavelength_nm: NDArray[np.float64] | None = None,
    ) -> None:
        images = {"hr": reduced.hr, "lr": reduced.lr} | ({} if reduced.msi is None else {"msi": reduced.msi})
        super().__init__(Path("memory"), tuple(images))
        self._images, self._corners, self._edge, self._scale = images, corners, edge, reduced.scale
        centres = None if wavelength_nm is None else wavelength_nm.tolist()
        self._attrs = {"scale": reduced.scale, "psf": asdict(reduced.psf), "wavelength_nm": centres, "response": None}

    def __len__(self) -> int:
        return len(self._corners)

    @property
    def attrs(self) -> dict[str, Any]:
        """Return scale, PSF, response and wavelengths."""
        return dict(self._attrs)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the arrays."""
        return tuple(sorted(self._images))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one patch of an array, (band, y, x)."""
        size = self._size(name)
        return len(self._images[name]), size, size

    def read(self, indices: ArrayLike, *, codes: ArrayLike | None = None) -> dict[str, NDArray[Any]]:
        """Cut patches by number: array name -> (B, band, y, x), contiguous; see :meth:`PatchArrays.read`."""
        wanted = np.asarray(indices, dtype=np.int64).ravel()
        turns = np.zeros_like(wanted) if codes is None else np.asarray(codes, dtype=np.int64).ravel()
        return {
            name: np.stack(
                [turn(self._cut(name, n), code) for n, code in zip(wanted.tolist(), turns.tolist(), strict=True)]
            )
            for name in self.arrays
        }

    def _cut(self, name: str, number: int) -> NDArray[Any]:
        size, ratio = self._size(name), 1 if name == "lr" else self._scale
        y, x = (int(corner) * ratio for corner in self._corners[number])
        return self._images[name][:, y : y + size, x : x + size]

    def _size(self, name: str) -> int:
        return self._edge * (1 if name == "lr" else self._scale)


def cut_patches(
    reduced: Reduced, region: Box, *, wavelength_nm: NDArray[np.float64] | None = None
) -> ScenePatches | None:
    """Cut overlapping patches out of a region, as large as leaves enough of them without holes; None: there are none.

    Args:
        reduced: The scene and its degradation.
        region: Where to cut, in pixels of the scene.
        wavelength_nm: Band centres (C,) in nm; None: unknown.
    """
    low = Box(*(edge // reduced.scale for edge in region))
    edge = min(LARGEST, low.y1 - low.y0, low.x1 - low.x0)
    found: Mapping[int, NDArray[np.int64]] = {}
    while edge >= SMALLEST:
        corners = _whole(reduced, low, edge)
        if len(corners) >= FEWEST:
            return ScenePatches(reduced, corners, edge=edge, wavelength_nm=wavelength_nm)
        found = {**found, edge: corners} if len(corners) else found
        edge = edge // 2 if edge >= 2 * SMALLEST else edge - 1
    if not found:
        return None
    edge = max(found, key=lambda size: (len(found[size]), size))
    return ScenePatches(reduced, found[edge], edge=edge, wavelength_nm=wavelength_nm)


def _whole(reduced: Reduced, low: Box, edge: int) -> NDArray[np.int64]:
    """Return the corners (N, 2) in LR pixels of the patches of a region whose pixels all have data."""
    stride = max(1, edge // 8)
    rows, columns = (starts(b - a, edge, stride) + a for a, b in ((low.y0, low.y1), (low.x0, low.x1)))
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    cells = reduced.valid.reshape(reduced.lr.shape[1], reduced.scale, reduced.lr.shape[2], reduced.scale)
    holes = np.pad(np.cumsum(np.cumsum(~cells.all(axis=(1, 3)), axis=0), axis=1), ((1, 0), (1, 0)))
    y, x = corners.T
    inside = holes[y + edge, x + edge] - holes[y, x + edge] - holes[y + edge, x] + holes[y, x]
    return np.asarray(corners[inside == 0])
