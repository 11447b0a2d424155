"""Diffusion of the HR-HSI itself, conditioned on both images as they are: the base of DDPM-Fus and HSR-Diff."""

import torch
from torch import Tensor

from hsipipe.diffusion.consistency import PairObservation
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Given
from hsipipe.methods.fusion.subspace import Subspace


class CubeDiffusion(FusionModel):
    """x_0 is 2 Z - 1, whose values lie around zero, and its estimates are clipped to the range that this has.

    Both papers are silent on it; it is what DDPM does with images (arXiv 2006.11239, section 3.3).
    """

    bounds = (-1.0, 1.0)

    def condition(self, pair: PairObservation, subspace: Subspace) -> Given:
        """The interpolated LR-HSI and the HR-MSI, scaled as the cube is."""
        up = pair.resampler.up(pair.lr)
        return Given(pair, up, 2 * torch.cat([up, pair.msi], dim=1) - 1, subspace)

    def clean(self, hr: Tensor, given: Given) -> Tensor:
        """The cube itself, around zero."""
        return 2 * hr - 1

    def cube(self, x0: Tensor, given: Given) -> Tensor:
        """Inverse of :meth:`clean`."""
        return (x0 + 1) / 2
