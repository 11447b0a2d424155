"""residual-fusion: a plain residual network on the concatenated inputs, as a trained baseline."""

from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.diffusion.consistency import PairObservation
from hsipipe.methods.fusion.losses import projected_loss
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Denoising, Estimate, Given, Pairing
from hsipipe.methods.fusion.subspace import Subspace
from hsipipe.methods.network_method import LossSettings
from hsipipe.methods.networks.layers import PlainResidualBlock
from hsipipe.params import Positive


class ResidualFusionSettings(LossSettings):
    """Sizes and training of residual-fusion."""

    width: Positive
    """Features of its convolutions."""
    blocks: Positive
    """Residual blocks of two convolutions."""


class ResidualFusion(FusionModel):
    """Convolutions that predict the residual of bicubic interpolation from the interpolated LR-HSI and the HR-MSI.

    With the diffusion models it shares only the pairs and the optional projection onto the observations. The last
    convolution starts at zero, so that training starts at bicubic.

    Args:
        pairing: The sensors.
        denoising: A regression.
        width: Features of the convolutions.
        blocks: Residual blocks of two convolutions.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND: ClassVar[str] = "residual-fusion"
    DESCRIPTION: ClassVar[str] = "A plain residual network on the interpolated LR-HSI and the HR-MSI."
    Settings = ResidualFusionSettings

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

    def net_config(self) -> dict[str, Any]:
        """Return the arguments of :meth:`build` in addition to the sensors and the denoising."""
        return {"width": self.width, "blocks": self.blocks}

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """Build a model without trained weights."""
        return cls(pairing, denoising, **net)

    def condition(self, pair: PairObservation, subspace: Subspace) -> Given:
        """Return the interpolated LR-HSI and the HR-MSI."""
        up = pair.resampler.up(pair.lr)
        return Given(pair, up, torch.cat([up, pair.msi], dim=1), subspace)

    def clean(self, hr: Tensor, given: Given) -> Tensor:
        """Compute the residual of bicubic interpolation."""
        return hr - given.start

    def cube(self, x0: Tensor, given: Given) -> Tensor:
        """Add the residual to the bicubic interpolation."""
        return given.start + x0

    @classmethod
    def made_for(cls, pairing: Pairing, settings: Any, response: NDArray[np.float64], *, patch: int) -> Self:
        """Build a model with initial weights."""
        del patch
        plain = Denoising("regression", "cosine", 1000, "x0", scale_input=True)
        return cls(pairing, plain, width=settings.width, blocks=settings.blocks, response=response)

    def distance(self, made: Estimate) -> Tensor:
        """Compute the loss between cubes, after and before the projection onto the observations."""
        return projected_loss(self.cube(made.x0, made.given), made, self.settings.loss)

    def denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Apply the network to the condition; the noisy image and the noise level have no effect."""
        del noisy, level
        features = self.head(condition)
        result: Tensor = self.tail(features + self.body(features))
        return result
