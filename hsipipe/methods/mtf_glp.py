"""MTF-GLP: a generalised Laplacian pyramid matched to the MTF, extended to hyperspectral images by hypersharpening."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.hypersharpening import Hypersharpening
from hsipipe.methods.fusion.scene_pixels import ScenePixels
from hsipipe.methods.fusion.whole_scene import mix, regress
from hsipipe.methods.super_resolver import Batch


@dataclass(frozen=True)
class MtfGlp(Hypersharpening):
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

    def fit(self, scene: ScenePixels) -> NDArray[np.float32]:
        """Return the weights (C, c) of the MSI bands in each pan."""
        # Of a constant and an MSI band without contrast, least squares keeps one: no gain comes from rounding errors.
        weights = regress(scene.spectra, on=np.concatenate([scene.low, scene.ones]))
        return weights[:, :-1].astype(np.float32)

    def sharpen(self, lr: Batch, msi: Batch, fitted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add the detail of the pans to the interpolation of a part."""
        detail = msi - upsample(self.psf.downsample(msi, self.scale), self.scale)
        return np.asarray(upsample(lr, self.scale) + mix(fitted, detail), dtype=np.float32)
