"""DDPM-Fus (arXiv 2307.03423): a U-Net that predicts the noise of the HR-HSI, conditioned on the two images."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import l1_loss

from hsipipe.methods.fusion.cube_diffusion import CubeDiffusion
from hsipipe.methods.fusion.setup import Denoising, Estimate, FusionSettings, Pairing
from hsipipe.methods.networks.unet import Unet
from hsipipe.params import UnetParams


class DdpmfusSettings(FusionSettings):
    """Sizes and training of DDPM-Fus."""

    unet: UnetParams

    @model_validator(mode="after")
    def _noise_can_be_predicted(self) -> "DdpmfusSettings":
        if self.diffusion.schedule != "linear":
            raise ValueError(
                f"diffusion.schedule must be linear, got {self.diffusion.schedule}: the network predicts noise, and "
                "from pure noise x_0 follows by a division by sqrt(gamma_T), which the cosine makes almost zero"
            )
        if self.diffusion.validation_steps < 2:
            raise ValueError("diffusion.validation_steps must be at least 2: one step of predicted noise gives noise")
        return self


class DdpmFus(CubeDiffusion):
    """U-Net on the concatenation of noisy HR-HSI, interpolated LR-HSI and HR-MSI (section III of the paper).

    Args:
        pairing: The sensors.
        denoising: Task of the network; as in the paper it predicts the noise.
        unet: Sizes of the network.
        patch: Edge of a training patch in pixels, see :class:`hsipipe.methods.networks.unet.Unet`.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND: ClassVar[str] = "ddpmfus"
    DESCRIPTION: ClassVar[str] = "DDPM-Fus: a diffusion of the HR-HSI by a U-Net, conditioned on both images."
    Settings = DdpmfusSettings

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
        """Return the arguments of :meth:`build` in addition to the sensors and the denoising."""
        return {"unet": self.unet.params.model_dump(mode="json"), "patch": self.unet.patch}

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """Build a model without trained weights."""
        return cls(pairing, denoising, unet=UnetParams.model_validate(net["unet"]), patch=int(net["patch"]))

    @classmethod
    def made_for(cls, pairing: Pairing, settings: Any, response: NDArray[np.float64], *, patch: int) -> Self:
        """Build a model with initial weights."""
        own = settings.diffusion
        denoising = Denoising(settings.objective, own.schedule, own.steps, "epsilon", scale_input=False)
        return cls(pairing, denoising, unet=settings.unet, patch=patch, response=response)

    def distance(self, made: Estimate) -> Tensor:
        """L1 loss of the noise, as in the paper; for a regression, of the cube."""
        return l1_loss(made.prediction, made.target)

    def denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Apply the U-Net."""
        result: Tensor = self.unet(noisy, condition, level)
        return result
