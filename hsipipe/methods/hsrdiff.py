"""HSR-Diff (arXiv 2306.12085): CDFormer, a transformer of two streams that predicts the HR-HSI itself."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsipipe.methods.fusion.cube_diffusion import CubeDiffusion
from hsipipe.methods.fusion.setup import Denoising, Pairing
from hsipipe.methods.networks.cdformer import Cdformer
from hsipipe.params import CdformerParams


class HsrDiff(CubeDiffusion):
    """CDFormer on Z_t with the two images as hierarchical condition (section 3 of the paper).

    Args:
        pairing: The sensors.
        denoising: What the network does; as in the paper it predicts Z_0.
        net: Sizes of the network.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND = "hsrdiff"

    def __init__(
        self,
        pairing: Pairing,
        denoising: Denoising,
        *,
        net: CdformerParams,
        response: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__(pairing, denoising, channels=pairing.bands, response=response)
        self.net_params = net
        self.net = Cdformer(pairing.bands, pairing.msi_bands, net)

    def net_config(self) -> dict[str, Any]:
        """What :meth:`build` needs beside the sensors and the denoising."""
        return self.net_params.model_dump(mode="json")

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """A model without trained weights."""
        return cls(pairing, denoising, net=CdformerParams.model_validate(net))

    def denoiser(self, condition: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The stream that sees no noise runs once, however many steps are taken."""
        features = self.net.condition_features(condition)

        def denoise(noisy: Tensor, gamma: Tensor) -> Tensor:
            predicted: Tensor = self.net(noisy, condition, gamma.sqrt(), features=features)
            return predicted

        return denoise

    def network(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """CDFormer."""
        result: Tensor = self.net(noisy, condition, level)
        return result
