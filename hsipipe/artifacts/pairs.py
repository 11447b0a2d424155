"""Read the degraded pairs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.base import Artifact, read_index
from hsipipe.artifacts.no_data import NO_DATA, Mask, coarse_valid, filled, has_data
from hsipipe.errors import DataError

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True)
class Pair:
    """A region in memory, float32; pixels without data are filled, see :func:`hsipipe.artifacts.no_data.filled`.

    Attributes:
        name: Name of the region; that of its scene, where the part has one region of it.
        hr: HR-HSI (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W), or None.
        wavelength_nm: Band centres (C,), or None where they are unknown.
        valid: HR pixels (H, W) with data in all images, or None where all have; the others are in no score.
    """

    name: str
    hr: NDArray[np.float32]
    lr: NDArray[np.float32]
    msi: NDArray[np.float32] | None
    wavelength_nm: NDArray[np.float64] | None
    valid: Mask | None = None

    @property
    def lr_valid(self) -> Mask | None:
        """LR pixels (h, w) that hold a valid HR pixel, or None where all do."""
        return None if self.valid is None else coarse_valid(self.valid, self.hr.shape[1] // self.lr.shape[1])

    def scored(self, cube: NDArray[Any]) -> NDArray[Any]:
        """Return the valid pixels of a cube (C, H, W) of this region as one row (C, 1, N); without holes the cube."""
        return cube if self.valid is None else cube[:, None, self.valid]

    def opened_lr(self) -> NDArray[np.float32]:
        """Return the LR-HSI with NaN in the pixels without data."""
        return self.lr if self.lr_valid is None else np.where(self.lr_valid, self.lr, np.float32(np.nan))

    def opened(self, cube: NDArray[Any]) -> NDArray[Any]:
        """Return a cube (C, H, W) of this region with NaN in the pixels without data."""
        return cube if self.valid is None else np.where(self.valid, cube, cube.dtype.type(np.nan))


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

    def read(self, split: str, name: str) -> Pair:
        """Read a whole region into memory, with pixels without data filled; see :class:`Pair`."""
        from hsipipe.storage.stores import get_array, read

        group = self.open(split, name)
        hr, lr = (read(get_array(group, key)) for key in ("hr", "lr"))
        msi = read(get_array(group, "msi")) if "msi" in group else None
        nm = np.asarray(self.index()["wavelength_nm"], dtype=np.float64)
        valid = has_data(hr) if NO_DATA in group.attrs else None
        if valid is not None:
            scale, lr = hr.shape[1] // lr.shape[1], filled(lr, has_data(lr))
            hr = filled(hr, valid, scale=scale)
            msi = None if msi is None else filled(msi, valid, scale=scale)
        return Pair(name, hr, lr, msi, nm if nm.size else None, valid)
