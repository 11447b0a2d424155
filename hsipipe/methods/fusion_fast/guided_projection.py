"""guided-projection: the start of fusion-fast as a method without training."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hsipipe.degradation.estimate import fit_response
from hsipipe.methods.fusion.scene_pixels import scene_pixels
from hsipipe.methods.fusion.setup import Denoising, Pairing
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion
from hsipipe.methods.fusion_fast.method import FusionFast
from hsipipe.methods.super_resolver import Batch, SceneImage
from hsipipe.params import SamplingParams

_TASK = Denoising("regression", "cosine", 1000, "x0", scale_input=True)
_PLAIN = {
    "sampler": "ddim",
    "steps": 1,
    "residual_decode": False,
    "consistency": 1,
    "tile": 64,
    "overlap": 8,
    "seed": 0,
}


@dataclass(frozen=True)
class GuidedProjection(WholeSceneFusion):
    """Interpolates the LR-HSI with the HR-MSI as guide, and projects onto the cubes that agree with both images.

    This is the prediction of :class:`hsipipe.methods.fusion_fast.method.FusionFast` before its first training step
    (docs/adr/0013-fusion-from-a-consistent-start.md): a guided filter (DOI 10.1109/TPAMI.2012.213) in the spectral
    subspace of the LR-HSI, a Wiener filter from MSI to HSI, and the pseudo-inverse of the PSF.

    Attributes:
        components: Directions of the subspace, at most.
        radius: Radius of the windows of the guided filter in LR pixels.
    """

    components: int = 12
    radius: int = 1

    KIND: ClassVar[str] = "guided-projection"
    DESCRIPTION: ClassVar[str] = "Guided interpolation, consistent with both images; needs no training."
    WHOLE_SCENE: ClassVar[bool] = False

    def for_scene(self, lr: SceneImage, msi: SceneImage) -> FusionFast:
        """Fit a scene of any size, which is read once by rows; see :class:`SceneResolver`."""
        self.check_response(lr.shape[0], msi.shape[0])
        pixels = scene_pixels(lr, msi, scale=self.scale, psf=self.psf)
        response = fit_response(pixels.spectra, pixels.low) if self.response is None else self.response
        pairing = Pairing(lr.shape[0], msi.shape[0], self.scale, self.psf)
        # Its last layer begins at zero, so that the other ones have no effect.
        network = FusionFast(
            pairing, _TASK, components=self.components, windows=[self.radius], width=2, blocks=1, response=response
        )
        return network.eval().named(self.name).with_sampling(SamplingParams.saved(_PLAIN)).for_pixels(pixels)

    def fuse(self, lr: Batch, msi: Batch) -> Batch:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        return np.asarray(self.for_scene(lr, msi).predict(lr[None], msi=msi[None])[0])
