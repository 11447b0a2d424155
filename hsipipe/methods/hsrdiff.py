"""HSR-Diff (arXiv 2306.12085): CDFormer, a two-stream transformer that predicts the HR-HSI."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, einsum
from torch.nn.functional import l1_loss

from hsipipe.errors import ParamsError
from hsipipe.methods.fusion.cube_diffusion import CubeDiffusion
from hsipipe.methods.fusion.setup import Denoising, Estimate, FusionSettings, Given, Pairing
from hsipipe.methods.losses import at_valid, whole_cells
from hsipipe.methods.networks.cdformer import Cdformer
from hsipipe.params import CdformerParams, Group, HardwareParams, Positive
from hsipipe.patches.draws import Draws

_CROP = 3
"""Random stream of the positions of small training images."""


class ObservationLossParams(Group):
    """Weights of the loss terms of hsrdiff (arXiv 2306.12085, eq. 8), each a mean absolute error."""

    truth: Annotated[float, Field(ge=0)]
    """Error of the predicted HR-HSI."""
    lr: Annotated[float, Field(ge=0)]
    """Error of the degraded prediction against the LR-HSI."""
    msi: Annotated[float, Field(ge=0)]
    """Error of the prediction, reduced by the spectral response, against the HR-MSI."""


class PhaseParams(Group):
    """One phase of a progressive training."""

    until: Annotated[float, Field(gt=0, le=1)]
    """Share of the optimizer steps at which it ends."""
    size: Positive
    """Edge of the training images in HR pixels: a part of the patch, or all of it."""
    batch: Positive
    """Images per step, at most `optimizer.batch`."""
    trains: Literal["all", "second_half"]
    """Levels of the network that are trained."""


class HsrdiffSettings(FusionSettings):
    """Sizes and training of HSR-Diff."""

    net: CdformerParams
    loss: ObservationLossParams
    progressive: Annotated[list[PhaseParams], Field(min_length=1)]
    """Phases, from small images to full ones; the last ends at 1."""

    @model_validator(mode="after")
    def _phases_follow_each_other(self) -> "HsrdiffSettings":
        ends = [phase.until for phase in self.progressive]
        if ends != sorted(set(ends)) or ends[-1] != 1:
            raise ValueError(f"progressive must have rising ends, the last of them 1, got {ends}")
        most = max(phase.batch for phase in self.progressive)
        if most > self.optimizer.batch:
            raise ValueError(
                f"progressive asks for batches of {most}, more than optimizer.batch ({self.optimizer.batch})"
            )
        return self


class HsrDiff(CubeDiffusion):
    """CDFormer on Z_t, with the two images as hierarchical condition (section 3 of the paper).

    Args:
        pairing: The sensors.
        denoising: Task of the network; as in the paper it predicts Z_0.
        net: Sizes of the network.
        response: Spectral response (c, C) of the training pairs.
    """

    KIND: ClassVar[str] = "hsrdiff"
    DESCRIPTION: ClassVar[str] = "HSR-Diff: a diffusion of the HR-HSI by a two-stream transformer, from both images."
    Settings = HsrdiffSettings

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
        """Return the arguments of :meth:`build` in addition to the sensors and the denoising."""
        return self.net_params.model_dump(mode="json")

    @classmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """Build a model without trained weights."""
        return cls(pairing, denoising, net=CdformerParams.model_validate(net))

    def denoiser(self, condition: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Run the super-resolution stream once and reuse it in every step, since it does not depend on the noise."""
        features = self.net.condition_features(condition)

        def denoise(noisy: Tensor, gamma: Tensor) -> Tensor:
            predicted: Tensor = self.net(noisy, condition, gamma.sqrt(), features=features)
            return predicted

        return denoise

    @classmethod
    def made_for(cls, pairing: Pairing, settings: Any, response: NDArray[np.float64], *, patch: int) -> Self:
        """Build a model with initial weights.

        Raises:
            ParamsError: A phase of the progressive training does not fit the patches.
        """
        for phase in settings.progressive:
            if phase.size > patch or phase.size % pairing.scale:
                raise ParamsError(
                    f"A phase of hsrdiff.progressive trains on {phase.size} pixels, expected a multiple of the scale "
                    f"({pairing.scale}) of at most patches.size ({patch})."
                )
        own = settings.diffusion
        denoising = Denoising(settings.objective, own.schedule, own.steps, "x0", scale_input=False)
        return cls(pairing, denoising, net=settings.net, response=response)

    @classmethod
    def check_hardware(cls, settings: Any, hardware: HardwareParams) -> None:
        """Check that several processes can run every phase."""
        for phase in settings.progressive:
            if phase.batch % hardware.devices:
                raise ParamsError(
                    f"A phase of hsrdiff.progressive has a batch of {phase.batch}, which {hardware.devices} processes "
                    "(hardware.devices) cannot share evenly."
                )
            if phase.trains == "second_half" and hardware.devices > 1:
                raise ParamsError(
                    "hsrdiff.progressive trains: second_half needs hardware.devices 1: processes that share a training "
                    "must agree on which weights learn from the first step on."
                )

    def cut(self, batch: dict[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Reduce number and size of the images for the current phase; also freeze levels that it does not train."""
        settings, s = self.settings, self.scale
        done = (draws.step + 1) / settings.optimizer.steps
        phase = next(phase for phase in settings.progressive if done <= phase.until)
        self.net.train_levels(phase.trains)
        share = -(-phase.batch * len(batch["hr"]) // settings.optimizer.batch)
        places = (batch["hr"].shape[-1] - phase.size) // s + 1
        y, x = torch.randint(places, (2,), generator=draws.generator(_CROP)).tolist()
        edge = phase.size // s
        low = np.s_[:share, :, y : y + edge, x : x + edge]
        high = np.s_[:share, :, y * s : y * s + phase.size, x * s : x * s + phase.size]
        return {name: image[low if name == "lr" else high].contiguous() for name, image in batch.items()}

    def distance(self, made: Estimate) -> Tensor:
        """Compute the L1 errors against the truth and both observations (arXiv 2306.12085, eq. 8)."""
        return observation_loss(self.cube(made.x0, made.given), made.hr, made.given, self.settings.loss, made.valid)

    def denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Apply CDFormer."""
        result: Tensor = self.net(noisy, condition, level)
        return result


def observation_loss(
    sr: Tensor, hr: Tensor, given: Given, weights: ObservationLossParams, valid: Tensor | None = None
) -> Tensor:
    """Compute |Z_0 - Z| + |Y - Z D| + |X - R Z| of an estimate Z, weighted means (arXiv 2306.12085, eq. 8).

    Args:
        sr: The estimate (B, C, H, W).
        hr: The truth (B, C, H, W).
        given: The observations.
        weights: Weights of the three terms.
        valid: Pixels with data, the only ones in which `sr` differs from `hr`; None: all.
    """
    pair = given.pair
    cells = whole_cells(valid, hr.shape[-1] // pair.lr.shape[-1])
    low = at_valid(pair.resampler.down(sr), pair.lr, cells)
    seen = einsum("kc,bchw->bkhw", pair.response, sr)
    return weights.truth * l1_loss(sr, hr) + weights.lr * l1_loss(low, pair.lr) + weights.msi * l1_loss(seen, pair.msi)
