"""What a model was trained on: wavelengths, range, noise and spectra of its training images.

A prediction outside of this domain can be worse than interpolation without looking so. The domain is saved with the
model, so that every prediction can be compared with it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import coarse_valid
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.errors import IntegrityError
from hsipipe.json_text import parse_json
from hsipipe.patches.sample import mask_of, spread

FILE = "domain.json"
_PATCHES = 256
_ENERGY = 0.9999
"""Share of the energy of the training spectra that the subspace holds."""
_MOST = 16
_DARK = 0.05
"""Share of the brightest spectrum's norm below which a spectrum is mostly noise."""


@dataclass(frozen=True, eq=False)
class Domain:
    """The training images of a model.

    Attributes:
        wavelength_nm: Band centres (C,) in nm; None: unknown.
        low: Smallest value of the LR images, where 1.0 is the full range.
        high: Largest value.
        noise: Typical deviation of a pixel from its neighbours in the LR images, see :func:`roughness`.
        basis: Orthonormal directions (k, C) of the spectra.
        outside: Relative distance to the subspace that one in a hundred training spectra exceeds.
    """

    wavelength_nm: tuple[float, ...] | None
    low: float
    high: float
    noise: float
    basis: NDArray[np.float64]
    outside: float

    @classmethod
    def of(cls, patches: PatchArrays) -> Self:
        """Measure the LR images of training patches, their pixels with data."""
        sample = patches.read(spread(len(patches), _PATCHES))
        lr, mask = sample["lr"], mask_of(sample)
        pixels = lr.transpose(1, 0, 2, 3).reshape(lr.shape[1], -1)
        if mask is not None:
            seen = coarse_valid(mask, mask.shape[-1] // lr.shape[-1])
            pixels, lr = pixels[:, seen.ravel()], np.where(seen[:, None], lr, np.float32(np.nan))
        spectra = bright_spectra(pixels)
        noises = [noise for noise in map(roughness, lr) if math.isfinite(noise)]
        _, values, directions = np.linalg.svd(spectra.T @ spectra / max(1, len(spectra)))
        share = np.cumsum(values) / values.sum()
        count = min(int(np.searchsorted(share, _ENERGY)) + 1, _MOST, max(1, lr.shape[1] - 1))
        centres = patches.attrs.get("wavelength_nm")
        made = cls(
            None if centres is None else tuple(map(float, centres)),
            float(pixels.min()),
            float(pixels.max()),
            float(np.median(noises)) if noises else 0.0,
            directions[:count],
            0.0,
        )
        return replace(made, outside=float(np.quantile(made.distances(spectra), 0.99)))

    def distances(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative distance (N,) of unit spectra (N, C) to the subspace of the training, 0 to 1."""
        seen = np.square(spectra @ self.basis.T).sum(axis=1)
        apart: NDArray[np.float64] = np.sqrt(np.clip(1 - seen, 0, 1))
        return apart

    def other_bands(self, wavelength_nm: Sequence[float]) -> str:
        """Say how band centres (C,) in nm differ from those of the training by more than half a band step; else empty.

        Bands of another number or of unknown wavelengths are not compared.
        """
        if self.wavelength_nm is None or len(wavelength_nm) != len(self.wavelength_nm):
            return ""
        mine, its = np.asarray(self.wavelength_nm), np.asarray(wavelength_nm, dtype=np.float64)
        half_steps = np.abs(np.gradient(mine)) / 2 if len(mine) > 1 else np.full(1, 5.0)
        other = int((np.abs(its - mine) > half_steps).sum())
        if not other:
            return ""
        return (
            f"{other} of {len(its)} bands lie more than half a band step from those of the training: the cube has "
            f"{span(its)}, the model was trained on {span(mine)}"
        )

    def write(self, folder: Path) -> None:
        """Write the domain into the folder of a model."""
        tree = {
            "wavelength_nm": self.wavelength_nm,
            "range": [self.low, self.high],
            "noise": self.noise,
            "basis": np.round(self.basis, 6).tolist(),
            "outside": self.outside,
        }
        (folder / FILE).write_text(json.dumps(tree, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Domain | None":
        """Read the domain of the model in a folder; None for a model without training or of an earlier version.

        Raises:
            IntegrityError: The file is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            return cls._parse(parse_json(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{path} is damaged ({error}); train the model again.") from error

    @classmethod
    def _parse(cls, tree: dict[str, Any]) -> Self:
        centres, basis = tree["wavelength_nm"], np.array(tree["basis"], dtype=np.float64)
        low, high = map(float, tree["range"])
        if basis.ndim != 2 or not np.isfinite(basis).all() or not math.isfinite(low + high):
            raise ValueError("the basis must be a finite matrix and the range two numbers")
        known = None if centres is None else tuple(map(float, centres))
        return cls(known, low, high, float(tree["noise"]), basis, float(tree["outside"]))


def span(centres: Sequence[float] | NDArray[np.float64]) -> str:
    """Return number and range of band centres in nm for messages."""
    return f"{len(centres)} bands from {centres[0]:g} to {centres[-1]:g} nm"


def bright_spectra(pixels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the spectra of an image (C, N) that are not dark, with norm one (M, C)."""
    spectra = np.asarray(pixels, dtype=np.float64).T
    norms = np.linalg.norm(spectra, axis=1)
    kept = norms > max(_DARK * norms.max(initial=0.0), 1e-12)
    bright: NDArray[np.float64] = spectra[kept] / norms[kept, None]
    return bright


def roughness(image: NDArray[np.floating[Any]]) -> float:
    """Median of the absolute second mixed difference of an image (C, h, w), scaled to the deviation of white noise.

    Source: the difference of Laplacians of Immerkaer 1996, https://doi.org/10.1006/cviu.1996.0060, eq. 3, with the
    median in place of the mean, because edges are few and large. Differences that reach a pixel without data (NaN) do
    not count; without any other, the result is NaN.
    """
    if min(image.shape[1:]) < 3:
        return 0.0
    rows = image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:]
    mixed = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    sizes = np.abs(mixed)
    if np.isnan(sizes).any():
        sizes = sizes[np.isfinite(sizes)]
    return float(np.median(sizes)) / (6 * 0.6745) if sizes.size else math.nan
