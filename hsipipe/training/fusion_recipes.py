"""How each fusion model is made and what its training minimises."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, einsum
from torch.nn.functional import l1_loss

from hsipipe.methods.ddpmfus import DdpmFus
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Denoising, Given, Objective, Pairing
from hsipipe.methods.fusion_fast import FusionFast
from hsipipe.methods.hsrdiff import HsrDiff
from hsipipe.methods.residual_fusion import ResidualFusion
from hsipipe.params import (
    DdpmfusParams,
    FusionDiffusionParams,
    FusionFastParams,
    HsrdiffParams,
    LossParams,
    ObservationLossParams,
    OptimizerParams,
    Params,
    PhaseParams,
    ResidualFusionParams,
)
from hsipipe.training.losses import gae_loss

Response = NDArray[np.float64]
_BEFORE = 0.1
"""Share of the loss that looks at the estimate before its projection."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a network made of a batch.

    Attributes:
        prediction: Its raw output.
        target: What that should be.
        x0: The x_0 that the output implies.
        hr: The truth (B, C, H, W).
        given: What the network was told.
    """

    prediction: Tensor
    target: Tensor
    x0: Tensor
    hr: Tensor
    given: Given


@dataclass(frozen=True)
class Recipe(ABC):
    """One model and its training; it is pickled where several processes train.

    Attributes:
        own: The model's group of params.yaml.
    """

    own: Any

    @property
    def optimizer(self) -> OptimizerParams:
        """Adam and its schedule."""
        return cast(OptimizerParams, self.own.optimizer)

    @property
    def seed(self) -> int:
        """Initial weights, order of the patches, noise."""
        return int(self.own.seed)

    @property
    def diffusion(self) -> FusionDiffusionParams | None:
        """Noise levels, and how a checkpoint is chosen; None: the model is a regression whatever it is asked for."""
        return getattr(self.own, "diffusion", None)

    @property
    def phases(self) -> Sequence[PhaseParams]:
        """From small images to full ones; none: whole patches throughout."""
        return getattr(self.own, "progressive", ())

    @abstractmethod
    def build(self, pairing: Pairing, objective: Objective, response: Response | None, *, patch: int) -> FusionModel:
        """The untrained model.

        Args:
            pairing: The sensors.
            objective: As a diffusion, or as a regression.
            response: Spectral response (c, C).
            patch: Edge of a training patch in HR pixels.
        """

    @abstractmethod
    def distance(self, model: FusionModel, made: Estimate) -> Tensor:
        """The loss."""


@dataclass(frozen=True)
class FusionFastRecipe(Recipe):
    """Between cubes, after and before the projection onto the observations.

    What the projection repairs, the network need not learn; a little of the other term keeps what it removes from
    drifting, since a prediction can do without it.
    """

    own: FusionFastParams

    def build(self, pairing: Pairing, objective: Objective, response: Response | None, *, patch: int) -> FusionModel:
        """The untrained model."""
        own = self.own
        return FusionFast(
            pairing,
            Denoising(objective, own.diffusion.schedule, own.diffusion.steps, "x0", scale_input=True),
            components=own.components,
            windows=own.windows,
            width=own.width,
            blocks=own.blocks,
            response=response,
        )

    def distance(self, model: FusionModel, made: Estimate) -> Tensor:
        """The loss."""
        return cube_loss(model.cube(made.x0, made.given), made, self.own.loss)


@dataclass(frozen=True)
class DdpmfusRecipe(Recipe):
    """l1 of the noise (arXiv 2307.03423); of the cube, where the same network is a regression."""

    own: DdpmfusParams

    def build(self, pairing: Pairing, objective: Objective, response: Response | None, *, patch: int) -> FusionModel:
        """The untrained model."""
        own = self.own.diffusion
        denoising = Denoising(objective, own.schedule, own.steps, "epsilon", scale_input=False)
        return DdpmFus(pairing, denoising, unet=self.own.unet, patch=patch, response=response)

    def distance(self, model: FusionModel, made: Estimate) -> Tensor:
        """The loss."""
        return l1_loss(made.prediction, made.target)


@dataclass(frozen=True)
class HsrdiffRecipe(Recipe):
    """The truth and both observations, l1 each (arXiv 2306.12085, eq. 8)."""

    own: HsrdiffParams

    def build(self, pairing: Pairing, objective: Objective, response: Response | None, *, patch: int) -> FusionModel:
        """The untrained model."""
        own = self.own.diffusion
        denoising = Denoising(objective, own.schedule, own.steps, "x0", scale_input=False)
        return HsrDiff(pairing, denoising, net=self.own.net, response=response)

    def distance(self, model: FusionModel, made: Estimate) -> Tensor:
        """The loss."""
        return observation_loss(model.cube(made.x0, made.given), made.hr, made.given, self.own.loss)


@dataclass(frozen=True)
class ResidualFusionRecipe(Recipe):
    """Between cubes, as fusion-fast is trained, so that the control is as strong as it can be."""

    own: ResidualFusionParams

    def build(self, pairing: Pairing, objective: Objective, response: Response | None, *, patch: int) -> FusionModel:
        """The untrained model."""
        plain = Denoising("regression", "cosine", 1000, "x0", scale_input=True)
        return ResidualFusion(pairing, plain, width=self.own.width, blocks=self.own.blocks, response=response)

    def distance(self, model: FusionModel, made: Estimate) -> Tensor:
        """The loss."""
        return cube_loss(model.cube(made.x0, made.given), made, self.own.loss)


RECIPES: Mapping[str, Callable[[Params], Recipe]] = {
    "fusion-fast": lambda params: FusionFastRecipe(params.fusion_fast),
    "ddpmfus": lambda params: DdpmfusRecipe(params.ddpmfus),
    "hsrdiff": lambda params: HsrdiffRecipe(params.hsrdiff),
    "residual-fusion": lambda params: ResidualFusionRecipe(params.residual_fusion),
}
"""Name of a model to its recipe, of params.yaml."""


def cube_loss(sr: Tensor, made: Estimate, weights: LossParams) -> Tensor:
    """The loss between cubes after the projection onto the observations, and a share of that before it.

    Args:
        sr: The estimate (B, C, H, W), not projected.
        made: With the truth and the observations.
        weights: Of the terms of either.
    """
    projected = gae_loss(made.given.pair.project(sr), made.hr, weights)
    return projected + _BEFORE * gae_loss(sr, made.hr, weights)


def observation_loss(sr: Tensor, hr: Tensor, given: Given, weights: ObservationLossParams) -> Tensor:
    """|Z_0 - Z| + |Y - Z D| + |X - R Z| of an estimate Z, weighted, each a mean (arXiv 2306.12085, eq. 8).

    Args:
        sr: The estimate (B, C, H, W).
        hr: The truth (B, C, H, W).
        given: The observations.
        weights: Of the three terms.
    """
    pair = given.pair
    seen = einsum("kc,bchw->bkhw", pair.response, sr)
    return (
        weights.truth * l1_loss(sr, hr)
        + weights.lr * l1_loss(pair.resampler.down(sr), pair.lr)
        + weights.msi * l1_loss(seen, pair.msi)
    )
