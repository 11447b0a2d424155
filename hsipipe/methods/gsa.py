"""Gram-Schmidt adaptive (GSA), extended to hyperspectral images by hypersharpening."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, pixels, regress
from hsipipe.methods.super_resolver import Batch


@dataclass(frozen=True)
class Gsa(WholeSceneFusion):
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

    def fuse(self, lr: Batch, msi: Batch) -> NDArray[np.float64]:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        spectra = pixels(lr).astype(np.float64)
        low = pixels(self.psf.downsample(msi, self.scale)).astype(np.float64)
        mean, low_mean = spectra.mean(axis=1, keepdims=True), low.mean(axis=1, keepdims=True)
        interpolated = pixels(upsample(lr, self.scale)).astype(np.float64)
        if self.response is None:
            weights = regress(low - low_mean, on=spectra - mean)
        else:
            weights = np.asarray(self.response, dtype=np.float64)
        intensity = weights @ (spectra - mean)
        gains = regress(spectra - mean, on=intensity)
        details = (pixels(msi) - low_mean) - weights @ (interpolated - mean)
        return np.asarray(interpolated + gains @ details).reshape(len(lr), *msi.shape[1:])
