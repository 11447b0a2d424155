"""Read the degraded pairs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.base import Artifact, read_index
from hsipipe.errors import DataError

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True)
class Pair:
    """A region in memory, float32.

    Attributes:
        name: Name of the region; that of its scene, where the part has one region of it.
        hr: HR-HSI (C, H, W).
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W), or None.
        wavelength_nm: Band centres (C,), or None where they are unknown.
    """

    name: str
    hr: NDArray[np.float32]
    lr: NDArray[np.float32]
    msi: NDArray[np.float32] | None
    wavelength_nm: NDArray[np.float64] | None


@dataclass(frozen=True)
class DegradedPairs(Artifact):
    """``<split>/<scene>.zarr`` with ``hr`` (C, H, W), ``lr`` (C, h, w), ``msi`` (c, H, W); ``pairs.json``."""

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
        """Read a whole region into memory."""
        from hsipipe.storage.stores import get_array, read

        group = self.open(split, name)
        hr, lr = (read(get_array(group, key)) for key in ("hr", "lr"))
        msi = read(get_array(group, "msi")) if "msi" in group else None
        nm = np.asarray(self.index()["wavelength_nm"], dtype=np.float64)
        return Pair(name, hr, lr, msi, nm if nm.size else None)
