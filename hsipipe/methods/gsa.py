"""Gram-Schmidt adaptive (GSA), extended to hyperspectral images by hypersharpening."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.hypersharpening import Hypersharpening
from hsipipe.methods.fusion.scene_pixels import ScenePixels
from hsipipe.methods.fusion.whole_scene import mix, regress
from hsipipe.methods.super_resolver import Batch


class GsaFit(NamedTuple):
    """Means of the LR-HSI (C, 1) and of the MSI (c, 1), weights of the intensities (c, C), and gains (C, c)."""

    mean: NDArray[np.float64]
    msi_mean: NDArray[np.float64]
    weights: NDArray[np.float64]
    gains: NDArray[np.float64]


@dataclass(frozen=True)
class Gsa(Hypersharpening):
    """Adds to the interpolation the detail of the pan: its difference to the intensity, a mixture of the HSI bands.

    Source: Aiazzi, Baronti and Selva 2007, DOI 10.1109/TGRS.2007.901007 (GSA): the intensity is the least-squares
    combination of the bands that fits the degraded pan, and each band's gain is its covariance with the intensity
    over the intensity's variance.

    Extended to several MSI bands by hypersharpening (Selva et al. 2015, DOI 10.1109/JSTARS.2015.2440092; Yokoya et
    al. 2017, DOI 10.1109/MGRS.2016.2637824): each HSI band has a separate pan, the least-squares combination of the
    MSI bands that fits it. Pan and intensity are linear in the MSI bands, so the details are computed once per MSI band
    and then combined.
    """

    KIND: ClassVar[str] = "gsa"
    DESCRIPTION: ClassVar[str] = "Gram-Schmidt adaptive component substitution of both images; needs no training."

    def fit(self, scene: ScenePixels) -> GsaFit:
        """Fit the intensities, and the gains of the bands on them."""
        spectra, low = scene.centred(scene.spectra), scene.centred(scene.low)
        weights = regress(low, on=spectra) if self.response is None else np.asarray(self.response, dtype=np.float64)
        gains = regress(spectra, on=weights @ spectra)
        return GsaFit(scene.mean(scene.spectra), scene.mean(scene.low), weights, gains)

    def sharpen(self, lr: Batch, msi: Batch, fitted: GsaFit) -> NDArray[np.float64]:
        """Add the details of the MSI bands to the interpolation of a part."""
        interpolated = upsample(lr, self.scale).astype(np.float64)
        intensity = mix(fitted.weights, interpolated - fitted.mean[..., None])
        return np.asarray(interpolated + mix(fitted.gains, msi - fitted.msi_mean[..., None] - intensity))
