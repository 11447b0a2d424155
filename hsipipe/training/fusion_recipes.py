"""How each fusion model is made and what its training minimises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, einsum
from torch.nn.functional import l1_loss

from hsipipe.models.ddpmfus import DdpmFus
from hsipipe.models.fusion import Denoising, FusionModel, Given, Objective, Pairing
from hsipipe.models.fusion_fast import FusionFast
from hsipipe.models.hsrdiff import HsrDiff
from hsipipe.models.residual_fusion import ResidualFusion
from hsipipe.params import (
    DdpmfusParams,
    FusionDiffusionParams,
    FusionFastParams,
    HsrdiffParams,
    ObservationLossParams,
    OptimizerParams,
    Params,
    PhaseParams,
    ResidualFusionParams,
)
from hsipipe.registry import Registry
from hsipipe.training.losses import gae_loss

Response = NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class Recipe:
    """One model and its training.

    Attributes:
        build: Makes the untrained model for sensors, objective and response; the last argument is the edge of a patch.
        distance: The loss.
        diffusion: Noise levels, and how a checkpoint is chosen; None: the model is a regression.
        optimizer: Adam and its schedule.
        phases: From small images to full ones; none: whole patches throughout.
        seed: Initial weights, order of the patches, noise.
    """

    build: Callable[[Pairing, Objective, Response, int], FusionModel]
    distance: Callable[[FusionModel, Estimate], Tensor]
    diffusion: FusionDiffusionParams | None
    optimizer: OptimizerParams
    seed: int
    phases: Sequence[PhaseParams] = ()


RECIPES: Registry[Callable[[Any], Recipe]] = Registry(
    "fusion model",
    {
        "fusion-fast": "hsipipe.training.fusion_recipes:fusion_fast",
        "ddpmfus": "hsipipe.training.fusion_recipes:ddpmfus",
        "hsrdiff": "hsipipe.training.fusion_recipes:hsrdiff",
        "residual-fusion": "hsipipe.training.fusion_recipes:residual_fusion",
    },
)
"""Name of a model to its recipe, which takes the parameters."""


def fusion_fast(params: Params) -> Recipe:
    """Between cubes, after the projection onto the observations: what that repairs, the network need not learn."""
    own: FusionFastParams = params.fusion_fast

    def build(pairing: Pairing, objective: Objective, response: Response, patch: int) -> FusionModel:
        del patch
        return FusionFast(
            pairing,
            Denoising(objective, own.diffusion.schedule, own.diffusion.steps, "x0", scale_input=True),
            components=own.components,
            windows=own.windows,
            width=own.width,
            blocks=own.blocks,
            response=response,
        )

    def distance(model: FusionModel, made: Estimate) -> Tensor:
        return gae_loss(made.given.pair.project(model.cube(made.x0, made.given)), made.hr, own.loss)

    return Recipe(build, distance, own.diffusion, own.optimizer, own.seed)


def ddpmfus(params: Params) -> Recipe:
    """l1 of the noise (arXiv 2307.03423); of the cube, where the same network is a regression."""
    own: DdpmfusParams = params.ddpmfus

    def build(pairing: Pairing, objective: Objective, response: Response, patch: int) -> FusionModel:
        denoising = Denoising(objective, own.diffusion.schedule, own.diffusion.steps, "epsilon", scale_input=False)
        return DdpmFus(pairing, denoising, unet=own.unet, patch=patch, response=response)

    def distance(model: FusionModel, made: Estimate) -> Tensor:
        return l1_loss(made.prediction, made.target)

    return Recipe(build, distance, own.diffusion, own.optimizer, own.seed)


def hsrdiff(params: Params) -> Recipe:
    """The truth and both observations, l1 each (arXiv 2306.12085, eq. 8)."""
    own: HsrdiffParams = params.hsrdiff

    def build(pairing: Pairing, objective: Objective, response: Response, patch: int) -> FusionModel:
        del patch
        denoising = Denoising(objective, own.diffusion.schedule, own.diffusion.steps, "x0", scale_input=False)
        return HsrDiff(pairing, denoising, net=own.net, response=response)

    def distance(model: FusionModel, made: Estimate) -> Tensor:
        return observation_loss(model.cube(made.x0, made.given), made.hr, made.given, own.loss)

    return Recipe(build, distance, own.diffusion, own.optimizer, own.seed, own.progressive)


def residual_fusion(params: Params) -> Recipe:
    """Between cubes, plainly."""
    own: ResidualFusionParams = params.residual_fusion

    def build(pairing: Pairing, objective: Objective, response: Response, patch: int) -> FusionModel:
        del objective, patch
        plain = Denoising("regression", "cosine", 1000, "x0", scale_input=True)
        return ResidualFusion(pairing, plain, width=own.width, blocks=own.blocks, response=response)

    def distance(model: FusionModel, made: Estimate) -> Tensor:
        return gae_loss(model.cube(made.x0, made.given), made.hr, own.loss)

    return Recipe(build, distance, None, own.optimizer, own.seed)


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
