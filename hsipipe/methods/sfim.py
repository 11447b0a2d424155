"""Smoothing filter-based intensity modulation (SFIM), extended to hyperspectral images by hypersharpening."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.hypersharpening import Hypersharpening
from hsipipe.methods.fusion.scene_pixels import ScenePixels
from hsipipe.methods.fusion.whole_scene import pixels, regress
from hsipipe.methods.super_resolver import Batch

# Share of the pan's mean below which a smoothed pan is too dark for a ratio.
_DARK = 0.03


@dataclass(frozen=True)
class Sfim(Hypersharpening):
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

    def fit(self, scene: ScenePixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights (C, c) of the MSI bands in each pan, and the means (C,) of the pans."""
        # No constant term, which would distort the ratio.
        weights = regress(scene.spectra, on=scene.low)
        return weights.astype(np.float32), (weights @ scene.mean(scene.low))[:, 0].astype(np.float32)

    def sharpen(
        self, lr: Batch, msi: Batch, fitted: tuple[NDArray[np.float32], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Multiply the interpolation of a part by the ratio of pan to smoothed pan."""
        smooth = pixels(upsample(self.psf.downsample(msi, self.scale), self.scale))
        fused = upsample(lr, self.scale)
        # Band by band, to avoid a second cube in memory.
        for band, mixture, mean in zip(fused, *fitted, strict=True):
            pan, smoothed = ((mixture @ image).reshape(band.shape) for image in (pixels(msi), smooth))
            band *= _ratio(np.maximum(pan, 0), smoothed, least=_DARK * mean)
        return fused


def _ratio(pan: NDArray[np.float32], smoothed: NDArray[np.float32], *, least: np.float32) -> NDArray[np.float32]:
    return np.divide(pan, smoothed, out=np.ones_like(pan), where=smoothed > np.maximum(least, 0))
