"""residual-fusion: the control of the fusion models, a plain residual network on the concatenated inputs."""

from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.diffusion.consistency import PairObservation
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Denoising, Given, Pairing
from hsipipe.methods.fusion.subspace import Subspace
from hsipipe.methods.networks.layers import PlainResidualBlock


class ResidualFusion(FusionModel):
    """What bicubic interpolation misses, predicted from interpolated LR-HSI and HR-MSI by convolutions alone.

    It shares nothing with the diffusion models but the pairs, and the projection onto the observations where the
    sampling asks for it. The last convolution begins at zero, so that training starts at bicubic.

    Args:
        pairing: The sensors.
        denoising: A regression.
        width: Features of the convolutions.
        blocks: Residual blocks of two convolutions.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND = "residual-fusion"

    def __init__(
        self,
        pairing: Pairing,
        denoising: Denoising,
        *,
        width: int,
        blocks: int,
        response: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__(pairing, denoising, channels=pairing.bands, response=response)
        self.width, self.blocks = width, blocks
        self.head = nn.Conv2d(pairing.bands + pairing.msi_bands, width, 3, padding=1)
        self.body = nn.Sequential(*(PlainResidualBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, pairing.bands, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    @property
    def name(self) -> str:
        """Name of its row in tables."""
        return self.KIND

    def net_config(self) -> dict[str, Any]:
        """What :meth:`build` needs beside the sensors and the denoising."""
        return {"width": self.width, "blocks": self.blocks}

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """A model without trained weights."""
        return cls(pairing, denoising, **net)

    def condition(self, pair: PairObservation, subspace: Subspace) -> Given:
        """The interpolated LR-HSI and the HR-MSI."""
        up = pair.resampler.up(pair.lr)
        return Given(pair, up, torch.cat([up, pair.msi], dim=1), subspace)

    def clean(self, hr: Tensor, given: Given) -> Tensor:
        """What bicubic interpolation misses."""
        return hr - given.start

    def cube(self, x0: Tensor, given: Given) -> Tensor:
        """Bicubic interpolation and what was missing."""
        return given.start + x0

    def network(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """The network, which has no noise to look at."""
        del noisy, level
        features = self.head(condition)
        result: Tensor = self.tail(features + self.body(features))
        return result
