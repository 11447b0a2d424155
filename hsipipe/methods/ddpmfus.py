"""DDPM-Fus (arXiv 2307.03423): a U-Net that predicts the noise of the HR-HSI beside the two images."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsipipe.methods.fusion.cube_diffusion import CubeDiffusion
from hsipipe.methods.fusion.setup import Denoising, Pairing
from hsipipe.methods.networks.unet import Unet
from hsipipe.params import UnetParams


class DdpmFus(CubeDiffusion):
    """U-Net on the concatenation of noisy HR-HSI, interpolated LR-HSI and HR-MSI (section III of the paper).

    Args:
        pairing: The sensors.
        denoising: What the network does; as in the paper it predicts the noise.
        unet: Sizes of the network.
        patch: Training patch in pixels, see :class:`hsipipe.methods.networks.unet.Unet`.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND = "ddpmfus"

    def __init__(
        self,
        pairing: Pairing,
        denoising: Denoising,
        *,
        unet: UnetParams,
        patch: int,
        response: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__(pairing, denoising, channels=pairing.bands, response=response)
        self.unet = Unet(pairing.bands, unet, patch=patch, condition_channels=pairing.bands + pairing.msi_bands)

    def net_config(self) -> dict[str, Any]:
        """What :meth:`build` needs beside the sensors and the denoising."""
        return {"unet": self.unet.params.model_dump(mode="json"), "patch": self.unet.patch}

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """A model without trained weights."""
        return cls(pairing, denoising, unet=UnetParams.model_validate(net["unet"]), patch=int(net["patch"]))

    def network(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """The U-Net."""
        result: Tensor = self.unet(noisy, condition, level)
        return result
