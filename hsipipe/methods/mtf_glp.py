"""MTF-GLP: a generalised Laplacian pyramid matched to the MTF, extended to hyperspectral images by hypersharpening."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion, mix, pixels, regress
from hsipipe.methods.super_resolver import Batch


@dataclass(frozen=True)
class MtfGlp(WholeSceneFusion):
    """Adds to the interpolation the detail of the pan: its difference to the pan as the LR sensor sees it.

    Source: Aiazzi et al. 2006, DOI 10.14358/PERS.72.5.591: the pan is low-passed by a filter that matches the
    modulation transfer function of the LR sensor, decimated and interpolated; the difference to the pan is injected
    with the gain cov(band, pan) / var(pan) on the LR grid. The filter is here the PSF of the LR-HSI itself.

    Extended to several MSI bands by hypersharpening (Selva et al. 2015, DOI 10.1109/JSTARS.2015.2440092; Yokoya et
    al. 2017, DOI 10.1109/MGRS.2016.2637824): the pan of each HSI band is the least-squares combination of the degraded
    MSI bands that fits it. The gain of such a pan is one, so that detail and combination are one product. The spectral
    response is not used. Where it maps the LR-HSI to the degraded HR-MSI exactly, GSA gives the same result.
    """

    KIND: ClassVar[str] = "mtf-glp"
    DESCRIPTION: ClassVar[str] = "Laplacian pyramid matched to the PSF (MTF-GLP) of both images; needs no training."

    def fuse(self, lr: Batch, msi: Batch) -> NDArray[np.float32]:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        coarse = self.psf.downsample(msi, self.scale)
        spectra, low = (pixels(image).astype(np.float64) for image in (lr, coarse))
        # Of a constant and an MSI band without contrast, least squares keeps one: no gain comes from rounding errors.
        constant = np.ones((1, low.shape[1]))
        weights = regress(spectra, on=np.concatenate([low, constant]))[:, :-1].astype(np.float32)
        detail = msi - upsample(coarse, self.scale)
        return np.asarray(upsample(lr, self.scale) + mix(weights, detail), dtype=np.float32)
