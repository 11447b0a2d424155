"""MTF-GLP-HPM: the pyramid of MTF-GLP with high-pass modulation, a product in the place of a sum."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.fusion.hypersharpening import Hypersharpening
from hsipipe.methods.fusion.scene_pixels import ScenePixels
from hsipipe.methods.fusion.whole_scene import pixels, regress
from hsipipe.methods.super_resolver import Batch

# Share of the pan's mean below which a low-passed pan is too dark for a ratio.
_DARK = 0.03


@dataclass(frozen=True)
class MtfGlpHpm(Hypersharpening):
    """Multiplies the interpolation by the ratio of the pan to the pan as the LR sensor sees it.

    Source: Vivone et al. 2014, DOI 10.1109/LGRS.2013.2281996 (high-pass modulation with a filter matched to the
    modulation transfer function); the pan is matched to each band by regression, as in Vivone et al. 2018, DOI
    10.1109/TGRS.2017.2757508. The filter is here the PSF of the LR-HSI itself. Where the low-passed pan is dark, the
    difference is added instead, as in MTF-GLP.

    Extended to several MSI bands by hypersharpening (Selva et al. 2015, DOI 10.1109/JSTARS.2015.2440092; Yokoya et
    al. 2017, DOI 10.1109/MGRS.2016.2637824): the pan of each HSI band is the least-squares combination of the degraded
    MSI bands and a constant that fits it. Without the constant it is SFIM. The spectral response is not used.
    """

    KIND: ClassVar[str] = "mtf-glp-hpm"
    DESCRIPTION: ClassVar[str] = "MTF-GLP with high-pass modulation (MTF-GLP-HPM) of both images; needs no training."

    def fit(self, scene: ScenePixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the weights (C, c + 1) of MSI bands and a constant in each pan, and the means (C,) of the pans."""
        known = np.concatenate([scene.low, scene.ones])
        weights = regress(scene.spectra, on=known)
        return weights.astype(np.float32), np.abs(weights @ scene.mean(known))[:, 0].astype(np.float32)

    def sharpen(
        self, lr: Batch, msi: Batch, fitted: tuple[NDArray[np.float32], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Multiply the interpolation of a part by the ratio of the pan to the low-passed pan."""
        fine, smooth = (pixels(image) for image in (msi, upsample(self.psf.downsample(msi, self.scale), self.scale)))
        fused = np.asarray(upsample(lr, self.scale), dtype=np.float32)
        # Band by band, to avoid a second cube in memory.
        for band, row, mean in zip(fused, *fitted, strict=True):
            pan, smoothed = ((row[:-1] @ image + row[-1]).reshape(band.shape) for image in (fine, smooth))
            usable = smoothed > _DARK * mean
            ratio = np.divide(np.maximum(pan, 0), smoothed, out=np.ones_like(band), where=usable)
            band[...] = np.where(usable, band * ratio, band + pan - smoothed)
        return fused
