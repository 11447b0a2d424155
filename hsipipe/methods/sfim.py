"""Smoothing filter-based intensity modulation (SFIM), extended to hyperspectral images by hypersharpening."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, pixels, regress
from hsipipe.methods.super_resolver import Batch

# Share of the pan's mean below which a smoothed pan is too dark for a ratio.
_DARK = 0.03


@dataclass(frozen=True)
class Sfim(WholeSceneFusion):
    """Multiplies the interpolation by the ratio of the pan to the smoothed pan.

    Source: Liu 2000, DOI 10.1080/014311600750037499, section on the development of SFIM: the ratio of the pan to
    its local mean is the detail that the larger pixels have lost. Here the pan is smoothed by the PSF and the
    interpolation, like the HSI, so that a band that is a multiple of its pan is restored exactly. Where the smoothed
    pan is dark, the ratio is not used and the interpolation is unchanged.

    Extended to several MSI bands by hypersharpening (Selva et al. 2015, DOI 10.1109/JSTARS.2015.2440092; Yokoya et
    al. 2017, DOI 10.1109/MGRS.2016.2637824): the pan of each HSI band is the least-squares combination of the MSI
    bands that fits it. The spectral response is not used.
    """

    KIND: ClassVar[str] = "sfim"
    DESCRIPTION: ClassVar[str] = "Smoothing filter-based intensity modulation of both images; needs no training."

    def fuse(self, lr: Batch, msi: Batch) -> NDArray[np.float32]:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        low = self.psf.downsample(msi, self.scale)
        smooth = pixels(upsample(low, self.scale))
        # No constant term, which would distort the ratio.
        weights = regress(pixels(lr), on=pixels(low)).astype(np.float32)
        fused = upsample(lr, self.scale)
        # Band by band, to avoid a second cube in memory.
        for band, mixture in zip(fused, weights, strict=True):
            pan, smoothed = ((mixture @ image).reshape(band.shape) for image in (pixels(msi), smooth))
            band *= _ratio(np.maximum(pan, 0), smoothed)
        return fused


def _ratio(pan: NDArray[np.float32], smoothed: NDArray[np.float32]) -> NDArray[np.float32]:
    usable = smoothed > _DARK * pan.mean()
    return np.divide(pan, smoothed, out=np.ones_like(pan), where=usable)
