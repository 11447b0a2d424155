"""FUSE: Bayesian fusion with a Gaussian prior, in closed form."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import ParamsError
from hsipipe.methods.fusion.data_terms import DataTerms
from hsipipe.methods.fusion.singular_vectors import singular_vectors
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, mix
from hsipipe.methods.super_resolver import Batch

Floats = NDArray[np.float32]

# Variances of the prior below this share of the largest are raised to it, so that the problem stays well conditioned.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Fuse(WholeSceneFusion):
    """The most likely cube under Gaussian noise of both images and a Gaussian prior around the interpolation.

    ``min_U 1/2 |Yh - E U B M|^2 + 1/2 |Ym - R E U|^2 + s^2/2 |S^(-1/2) (U - U0)|^2`` for the coefficients U in a
    spectral subspace E. BM blurs and decimates, R is the response, U0 the interpolated LR-HSI, S the variance of each
    coefficient around it and s^2 that of the noise. Source: Wei, Dobigeon and Tourneret 2015, DOI
    10.1109/TIP.2015.2458572, sections on the Sylvester equation and on the naive Gaussian prior. The method was
    designed for hyperspectral images and needs no extension.

    The solution is exact and takes one step: the PSF is separable, and its singular vectors take the place of the FFT,
    so that boundaries are symmetric. S is estimated one level down: what interpolation misses between the degraded
    LR-HSI and the LR-HSI. Noise is of equal power in both images.

    Attributes:
        components: Largest dimension of the subspace.
        snr_db: Signal-to-noise ratio of both images in dB. The default is for data with little noise.
    """

    components: int = 20
    snr_db: float = 50.0

    KIND: ClassVar[str] = "fuse"
    DESCRIPTION: ClassVar[str] = "Bayesian fusion in closed form (FUSE, Gaussian prior); needs no training."

    def __post_init__(self) -> None:
        if not 0 < self.snr_db < 120:
            raise ParamsError(f"FUSE's snr_db must be between 0 and 120, got {self.snr_db}; 50 is for little noise.")

    def working_bytes(self, bands: int) -> int:
        """See :meth:`WholeSceneFusion.working_bytes`: four images of the coefficients."""
        return max(super().working_bytes(bands), 16 * min(self.components, bands))

    def fuse(self, lr: Batch, msi: Batch) -> Floats:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        response = self.response_of(lr, msi)
        # The noise is relative to the signal.
        unit = np.float32(np.sqrt(np.square(lr, dtype=np.float64).mean())) or np.float32(1)
        basis = singular_vectors(lr, self.components)
        low = mix(basis.T, lr / unit)
        noise = 10 ** (-self.snr_db / 10)
        data = DataTerms(
            low,
            msi / unit,
            mixing=(response @ basis).astype(np.float32),
            psf=self.psf,
            scale=self.scale,
            weight=1.0,
            penalty=noise / self._variances(low),
        )
        return mix(basis * unit, data.step(np.asarray(upsample(low, self.scale), dtype=np.float32)))

    def _variances(self, low: Floats) -> NDArray[np.float64]:
        """Estimate the variance of each coefficient around its interpolation, (p,)."""
        height, width = low.shape[1:]
        margins = ((0, 0), (0, -height % self.scale), (0, -width % self.scale))
        padded = np.pad(low, margins, mode="edge")
        coarse = upsample(self.psf.downsample(padded, self.scale), self.scale)
        missed = (padded - coarse)[:, :height, :width]
        found = np.square(missed, dtype=np.float64).mean(axis=(1, 2))
        largest = float(found.max())
        # Too small or too smooth an image misses nothing; then the power of the coefficients bounds the variance.
        if largest <= _LEAST_VARIANCE:
            found = np.square(low, dtype=np.float64).mean(axis=(1, 2))
            largest = float(found.max()) or 1.0
        return np.asarray(np.maximum(found, _LEAST_VARIANCE * largest))
