"""CNMF: unmix the two images in turn into shared endmembers and abundances."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.vertices import vertices
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, pixels
from hsipipe.methods.super_resolver import Batch

Floats = NDArray[np.float32]

# Lower bound that keeps factors and denominators of the updates positive, for spectra of mean 1.
_TINY = np.float32(1e-9)
# Weight of the appended row of ones, which drives the sum of the abundances to one, for spectra of mean 1.
_SUM_TO_ONE = np.float32(1.0)
# Pixels that are updated together, so that their factors stay in the cache.
_BLOCK = 4096


@dataclass(frozen=True)
class Cnmf(WholeSceneFusion):
    """Endmember spectra W of the LR-HSI times abundances H of the HR-MSI, all non-negative.

    The LR-HSI is W (H degraded) and the HR-MSI (response W) H. Source: Yokoya, Yairi and Iwasaki 2012, DOI
    10.1109/TGRS.2011.2161320, section on CNMF unmixing: vertex component analysis (Nascimento and Bioucas-Dias 2005,
    DOI 10.1109/TGRS.2005.844293) initialises W, multiplicative updates (Lee and Seung, "Algorithms for non-negative
    matrix factorization", 2000) unmix the two images in turn, and an appended row of ones drives the sum of the
    abundances to one. The method was designed for hyperspectral images and needs no extension.

    Two choices are specific to this implementation: bicubic interpolation of the LR abundances initialises those of
    the HR-MSI, and the endmembers of the MSI stay response times W, because the response is known or estimated from
    the pair.

    Attributes:
        endmembers: Largest number D of endmembers; limited by the bands and the LR pixels.
        rounds: Number of unmixings of the HR-MSI.
        low_updates: Updates per unmixing of the LR-HSI.
        high_updates: Updates per unmixing of the HR-MSI.
        seed: Seed of the random directions of the vertex component analysis.
    """

    endmembers: int = 30
    rounds: int = 4
    low_updates: int = 600
    high_updates: int = 100
    seed: int = 0

    KIND: ClassVar[str] = "cnmf"
    DESCRIPTION: ClassVar[str] = "Coupled non-negative matrix factorisation of both images; needs no training."

    def working_bytes(self, bands: int) -> int:
        """See :meth:`WholeSceneFusion.working_bytes`: the abundances grow where bands are few."""
        return max(super().working_bytes(bands), 13 * self.endmembers)

    def fuse(self, lr: Batch, msi: Batch) -> Floats:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        response = self.response_of(lr, msi).astype(np.float32)
        # An all-zero scene has mean 0; any unit will do.
        unit = np.float32(np.abs(lr).mean(dtype=np.float64)) or np.float32(1)
        # Bicubic PSFs and noise produce negative values, which no non-negative mixture can reproduce.
        low, high = (np.maximum(pixels(image) / unit, 0) for image in (lr, msi))
        spectra, abundances = self._unmix(low)
        fine = _positive(upsample(abundances.reshape(-1, *lr.shape[1:]), self.scale))
        for turn in range(self.rounds):
            if turn:
                coarse = _positive(self.psf.downsample(fine, self.scale))
                spectra = _update_spectra(low, spectra, pixels(coarse), times=self.low_updates)
            _update_abundances(high, response @ spectra, pixels(fine), times=self.high_updates)
        return np.asarray((unit * spectra) @ pixels(fine)).reshape(len(lr), *msi.shape[1:])

    def _unmix(self, low: Floats) -> tuple[Floats, Floats]:
        """Unmix an LR-HSI (C, n) into spectra (C, D) and abundances (D, n)."""
        count = min(self.endmembers, *low.shape)
        spectra = _positive(vertices(low, count, np.random.default_rng(self.seed)))
        abundances = np.full((count, low.shape[1]), 1 / count, dtype=np.float32)
        # Update the abundances first: the vertices are a better initial guess than equal abundances.
        _update_abundances(low, spectra, abundances, times=self.low_updates)
        for _ in range(self.low_updates):
            spectra = _update_spectra(low, spectra, abundances, times=1)
            _update_abundances(low, spectra, abundances, times=1)
        return spectra, abundances


def _update_abundances(image: Floats, spectra: Floats, abundances: Floats, *, times: int) -> None:
    """Update `abundances` (D, n) multiplicatively, in place, for an image (C, n) and spectra (C, D)."""
    # The appended row of ones adds the same constant to all products of two spectra, or of a spectrum and a pixel.
    gram = spectra.T @ spectra + np.square(_SUM_TO_ONE)
    for first in range(0, image.shape[1], _BLOCK):
        some = slice(first, first + _BLOCK)
        products = spectra.T @ image[:, some] + np.square(_SUM_TO_ONE)
        block = np.ascontiguousarray(abundances[:, some])
        for _ in range(times):
            block *= products / (gram @ block + _TINY)
        abundances[:, some] = block


def _update_spectra(image: Floats, spectra: Floats, abundances: Floats, *, times: int) -> Floats:
    """Update spectra (C, D) multiplicatively for an image (C, n) and abundances (D, n)."""
    products, gram = image @ abundances.T, abundances @ abundances.T
    for _ in range(times):
        spectra = np.asarray(spectra * (products / (spectra @ gram + _TINY)), dtype=np.float32)
    return spectra


def _positive(values: NDArray[np.float32]) -> Floats:
    """Replace zeros by a small positive value, since multiplicative updates cannot change a zero."""
    return np.maximum(values, _TINY)
