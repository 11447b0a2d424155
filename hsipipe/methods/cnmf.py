"""CNMF: both images are unmixed in turn into the same endmembers and abundances."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, pixels
from hsipipe.methods.super_resolver import Batch

Floats = NDArray[np.float32]

# Keeps factors and denominators of the updates positive, for spectra of mean 1.
_TINY = np.float32(1e-9)
# Weight of the row of ones that asks for abundances which sum to one, for spectra of mean 1.
_SUM_TO_ONE = np.float32(1.0)
# Pixels whose updates run together, so that their factors stay in the cache.
_BLOCK = 4096
# A pixel no further than this share of the largest from the span of the endmembers is no new endmember.
_IN_SPAN = 1e-6


@dataclass(frozen=True)
class Cnmf(WholeSceneFusion):
    """Endmember spectra W of the LR-HSI times abundances H of the HR-MSI, all non-negative.

    The LR-HSI is W (H degraded) and the HR-MSI (response W) H. Source: Yokoya, Yairi and Iwasaki 2012, DOI
    10.1109/TGRS.2011.2161320, section on CNMF unmixing: vertex component analysis (Nascimento and Bioucas-Dias 2005,
    DOI 10.1109/TGRS.2005.844293) starts W, multiplicative updates (Lee and Seung, "Algorithms for non-negative matrix
    factorization", 2000) unmix the two images in turn, and a row of ones asks for abundances that sum to one. It is
    made for hyperspectral images and needs no extension.

    Two choices are ours: the abundances are interpolated bicubically to start those of the HR-MSI, and the MSI's
    endmembers stay the response's mixture of W, because the response is known or estimated from the pair.

    Attributes:
        endmembers: D at most; no more than there are bands, or LR pixels.
        rounds: Unmixings of the HR-MSI.
        low_updates: Updates in each unmixing of the LR-HSI.
        high_updates: Updates in each unmixing of the HR-MSI.
        seed: Draws the directions of the vertex component analysis.
    """

    endmembers: int = 30
    rounds: int = 4
    low_updates: int = 600
    high_updates: int = 100
    seed: int = 0

    KIND: ClassVar[str] = "cnmf"
    DESCRIPTION: ClassVar[str] = "Coupled non-negative matrix factorisation of both images; needs no training."

    def fuse(self, lr: Batch, msi: Batch) -> Floats:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        response = self.response_of(lr, msi).astype(np.float32)
        # A scene without light has no unit, and none is needed.
        unit = np.float32(np.abs(lr).mean(dtype=np.float64)) or np.float32(1)
        # Bicubic PSFs and noise leave negative values, which no mixture of spectra explains.
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
        """Spectra (C, D) and abundances (D, n) of an LR-HSI (C, n)."""
        count = min(self.endmembers, *low.shape)
        spectra = _positive(_vertices(low, count, np.random.default_rng(self.seed)))
        abundances = np.full((count, low.shape[1]), 1 / count, dtype=np.float32)
        # The abundances come first, because the vertices are a better guess than equal shares.
        _update_abundances(low, spectra, abundances, times=self.low_updates)
        for _ in range(self.low_updates):
            spectra = _update_spectra(low, spectra, abundances, times=1)
            _update_abundances(low, spectra, abundances, times=1)
        return spectra, abundances


def _update_abundances(image: Floats, spectra: Floats, abundances: Floats, *, times: int) -> None:
    """Multiplicative updates of `abundances` (D, n), in place, for an image (C, n) and spectra (C, D)."""
    # The appended row adds the same to every product of two spectra, and to every product of a spectrum and a pixel.
    gram = spectra.T @ spectra + np.square(_SUM_TO_ONE)
    for first in range(0, image.shape[1], _BLOCK):
        some = slice(first, first + _BLOCK)
        products = spectra.T @ image[:, some] + np.square(_SUM_TO_ONE)
        block = np.ascontiguousarray(abundances[:, some])
        for _ in range(times):
            block *= products / (gram @ block + _TINY)
        abundances[:, some] = block


def _update_spectra(image: Floats, spectra: Floats, abundances: Floats, *, times: int) -> Floats:
    """Multiplicative updates of spectra (C, D) for an image (C, n) and abundances (D, n)."""
    products, gram = image @ abundances.T, abundances @ abundances.T
    for _ in range(times):
        spectra = np.asarray(spectra * (products / (spectra @ gram + _TINY)), dtype=np.float32)
    return spectra


def _vertices(spectra: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Spectra (C, count) that stand out among `spectra` (C, n): vertex component analysis without its projection.

    The pixel that lies furthest along a random direction, orthogonal to all that were chosen before, is a vertex. A
    coordinate of ones lets darkness be one, too.
    """
    points = np.concatenate([spectra, np.ones((1, spectra.shape[1]))]).astype(np.float64)
    smallest = _IN_SPAN * float(np.linalg.norm(points, axis=0).max())
    span = np.zeros((len(points), 0))
    chosen = []
    for _ in range(count):
        direction = generator.standard_normal(len(points))
        direction -= span @ (span.T @ direction)
        chosen.append(int(np.argmax(np.abs(direction @ points))))
        new = points[:, chosen[-1]]
        # Twice, because once leaves rounding where the spectra are alike.
        for _ in range(2):
            new = new - span @ (span.T @ new)
        length = float(np.linalg.norm(new))
        if length > smallest:
            span = np.concatenate([span, new[:, None] / length], axis=1)
    return spectra[:, chosen]


def _positive(values: NDArray[np.float32]) -> Floats:
    """No zeros, which no multiplication would ever move again."""
    return np.maximum(values, _TINY)
