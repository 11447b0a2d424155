"""Read the degraded pairs."""

import math
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.base import Artifact, read_index
from hsipipe.artifacts.no_data import NO_DATA, Mask, coarse_valid, filled, has_data
from hsipipe.artifacts.views import Masked, ScoredPixels
from hsipipe.errors import DataError

if TYPE_CHECKING:
    import zarr


IN_MEMORY_BYTES = 256 << 20
"""Size of an HR-HSI up to which a region is read into memory; a constant, so that it does not depend on the machine."""


@dataclass(frozen=True)
class Pair:
    """A region, float32; pixels without data are filled, see :func:`hsipipe.artifacts.no_data.filled`.

    Its images are arrays, or of a large region cubes that are read by slices.

    Attributes:
        name: Name of the region; that of its scene, where the part has one region of it.
        hr: HR-HSI (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W), or None.
        wavelength_nm: Band centres (C,), or None where they are unknown.
        valid: HR pixels (H, W) with data in all images, or None where all have; the others are in no score.
    """

    name: str
    hr: Any
    lr: Any
    msi: Any
    wavelength_nm: NDArray[np.float64] | None
    valid: Mask | None = None

    @property
    def lr_valid(self) -> Mask | None:
        """LR pixels (h, w) that hold a valid HR pixel, or None where all do."""
        return None if self.valid is None else coarse_valid(self.valid, self.hr.shape[1] // self.lr.shape[1])

    def scored(self, cube: Any) -> Any:
        """Return the valid pixels of a cube (C, H, W) of this region, a row for each window; without holes the cube."""
        return cube if self.valid is None else ScoredPixels(cube, self.valid)

    def opened_lr(self) -> Any:
        """Return the LR-HSI with NaN in the pixels without data."""
        return self.lr if self.lr_valid is None else Masked(self.lr, self.lr_valid, math.nan)

    def opened(self, cube: Any) -> Any:
        """Return a cube (C, H, W) of this region with NaN in the pixels without data."""
        return cube if self.valid is None else Masked(cube, self.valid, math.nan)


@dataclass(frozen=True)
class DegradedPairs(Artifact):
    """``<split>/<scene>.zarr`` with ``hr`` (C, H, W), ``lr`` (C, h, w), ``msi`` (c, H, W); ``pairs.json``.

    NaN is no data; a store that holds some has the attribute ``no_data_share``.
    """

    LOCATION: ClassVar[str] = "data/pairs"
    INDEX: ClassVar[str] = "pairs.json"

    def index(self) -> dict[str, Any]:
        """Read ``pairs.json``.

        Raises:
            MissingInputError: The pairs were not published.
            IntegrityError: The file is damaged.
        """
        return read_index(self.path / self.INDEX, stage="degrade")

    def response(self) -> NDArray[np.float64] | None:
        """The spectral response (c, C) that the HR-MSI was simulated with; None: no HR-MSI, or a measured one.

        Raises:
            MissingInputError: The pairs were not published.
            IntegrityError: Their index is damaged.
        """
        matrix = self.index().get("response")
        return None if matrix is None else np.asarray(matrix, dtype=np.float64)

    def names(self, split: str) -> list[str]:
        """Names of the regions in a part of the split."""
        parts = self.index()["splits"]
        if split not in parts:
            raise DataError(f"No split {split!r}; there are {', '.join(parts)}.")
        return [str(entry["name"]) for entry in parts[split]]

    def open(self, split: str, name: str) -> "zarr.Group":
        """The store of a region, for reading in parts.

        Raises:
            DataError: There is no such region; the message lists them.
        """
        from hsipipe.storage.stores import open_store

        names = self.names(split)
        if name not in names:
            raise DataError(f"No region {name!r} in split {split!r}; there are {', '.join(names)}.")
        return open_store(self.path / split / f"{name}.zarr")

    def read(self, split: str, name: str, *, folder: Path | None = None) -> Pair:
        """Read a whole region, with pixels without data filled; see :class:`Pair`.

        Args:
            split: Part of the split.
            name: Name of the region.
            folder: Where a region whose HR-HSI is larger than :data:`IN_MEMORY_BYTES` is kept in files, which the
                caller removes; None: read any region into memory.

        Raises:
            DataError: There is no such region, or the disk of the folder is too small.
        """
        from hsipipe.storage.stores import get_array, read

        group = self.open(split, name)
        if folder is not None and 4 * prod(get_array(group, "hr").shape) > IN_MEMORY_BYTES:
            from hsipipe.artifacts.large_pairs import copied

            return Pair(name, **copied(group, folder), wavelength_nm=self._wavelength_nm())
        hr, lr = (read(get_array(group, key)) for key in ("hr", "lr"))
        msi = read(get_array(group, "msi")) if "msi" in group else None
        valid = has_data(hr) if NO_DATA in group.attrs else None
        if valid is not None:
            scale, lr = hr.shape[1] // lr.shape[1], filled(lr, has_data(lr))
            hr = filled(hr, valid, scale=scale)
            msi = None if msi is None else filled(msi, valid, scale=scale)
        return Pair(name, hr, lr, msi, self._wavelength_nm(), valid)

    def look(self, split: str, name: str) -> Pair:
        """Open a region whose images stay in their store, for the parts that pictures show.

        Raises:
            DataError: There is no such region.
        """
        from hsipipe.artifacts.large_pairs import in_store

        return Pair(name, **in_store(self.open(split, name)), wavelength_nm=self._wavelength_nm())

    def _wavelength_nm(self) -> NDArray[np.float64] | None:
        nm = np.asarray(self.index()["wavelength_nm"], dtype=np.float64)
        return nm if nm.size else None
