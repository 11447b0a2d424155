"""Diffusion of the HR-HSI, conditioned on both images: the base of DDPM-Fus and HSR-Diff."""

import torch
from torch import Tensor

from hsipipe.diffusion.consistency import PairObservation
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Given
from hsipipe.methods.fusion.subspace import Subspace


class CubeDiffusion(FusionModel):
    """Diffuses x_0 = 2 Z - 1, which is centred on zero; estimates of x_0 are clipped to its range.

    Neither paper specifies this; it follows DDPM's treatment of images (arXiv 2006.11239, section 3.3).
    """

    bounds = (-1.0, 1.0)

    def condition(self, pair: PairObservation, subspace: Subspace) -> Given:
        """Return the interpolated LR-HSI and the HR-MSI, scaled like the cube."""
        up = pair.resampler.up(pair.lr)
        return Given(pair, up, 2 * torch.cat([up, pair.msi], dim=1) - 1, subspace)

    def clean(self, hr: Tensor, given: Given) -> Tensor:
        """Scale the cube to be centred on zero."""
        return 2 * hr - 1

    def cube(self, x0: Tensor, given: Given) -> Tensor:
        """Inverse of :meth:`clean`."""
        return (x0 + 1) / 2
