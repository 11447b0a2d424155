"""Read the patches, and their latents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hsipipe.artifacts.base import Artifact

if TYPE_CHECKING:
    from hsipipe.artifacts.patch_arrays import PatchArrays


@dataclass(frozen=True)
class PatchStore(Artifact):
    """``<split>.zarr`` with ``hr`` (N, C, P, P), ``lr`` (N, C, P/s, P/s), ``msi`` (N, c, P, P).

    Pixels without data are filled; a store with such pixels also has ``valid`` (N, 1, P, P), 0 for them.
    """

    LOCATION: ClassVar[str] = "data/patches"

    def open(self, split: str, arrays: Sequence[str] = ("hr", "lr")) -> "PatchArrays":
        """The arrays of a part of the split, read by patch number; the store is opened at the first access."""
        return _open(self, split, arrays)


@dataclass(frozen=True)
class LatentStore(Artifact):
    """``<split>.zarr`` with whitened ``hr`` and ``lr`` latents (N, G, k, P, P), keyed by the digest of the GAE.

    It has the array ``valid`` of its patches, if they have one. The item is the GAE's name.
    """

    LOCATION: ClassVar[str] = "data/latents/{item}"

    def open(self, split: str, arrays: Sequence[str] = ("hr", "lr")) -> "PatchArrays":
        """The latents of a part of the split, read by patch number; the store is opened at the first access."""
        return _open(self, split, arrays)


def _open(artifact: Artifact, split: str, arrays: Sequence[str]) -> "PatchArrays":
    from hsipipe.artifacts.patch_arrays import PatchArrays

    return PatchArrays(artifact.path / f"{split}.zarr", arrays)
