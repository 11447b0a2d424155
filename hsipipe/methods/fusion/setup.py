"""Sensors, denoising and condition of a fusion network, and the settings that fusion methods share."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import PairObservation
from hsipipe.diffusion.targets import Target
from hsipipe.methods.fusion.subspace import Subspace
from hsipipe.params import Group, Positive, TrainingParams

Objective = Literal["diffusion", "regression"]


class FusionDiffusionParams(Group):
    """The diffusion of a fusion model and its training."""

    steps: Annotated[int, Field(ge=1000)]
    """T, the noise levels in training."""
    schedule: Literal["linear", "cosine"]
    """How gamma falls from 1 to 0."""
    terminal_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the training images at the last noise level, where sampling starts; few steps need it."""
    validation_steps: Positive
    """Network evaluations per image when a checkpoint is chosen."""


class FusionSettings(TrainingParams):
    """The settings that all fusion methods with a diffusion share."""

    objective: Objective
    """diffusion, or regression: the same network trained to predict in one step, as a trained baseline."""
    diffusion: FusionDiffusionParams


@dataclass(frozen=True)
class Pairing:
    """The sensors that a model was trained for.

    Attributes:
        bands: Bands C of the HSI.
        msi_bands: Bands c of the MSI.
        scale: Ratio s of their pixel sizes.
        psf: Of the HSI's sensor, on the grid of the MSI.
        response: Which spectral response a prediction works with: the one that the model holds, or one estimated
            from each scene's own pair.
    """

    bands: int
    msi_bands: int
    scale: int
    psf: Psf
    response: Literal["given", "estimated"] = "given"


@dataclass(frozen=True)
class Denoising:
    """The task of a network, apart from its layers.

    Attributes:
        objective: `regression`: one evaluation on zeros instead of noise, which gives x_0.
        schedule: Name of the noise schedule.
        steps: T.
        target: What the network predicts.
        scale_input: Multiply the noisy image by sqrt(gamma), its share of signal, before the network sees it.
    """

    objective: Objective
    schedule: str
    steps: int
    target: Target
    scale_input: bool


class Scene(NamedTuple):
    """Statistics of whole scenes: the response (c, C), the gain of its bands (B, C, c), the spectra's subspace."""

    response: Tensor
    gain: Tensor
    subspace: Subspace


@dataclass(frozen=True, eq=False)
class Given:
    """The condition of a network, and the values that turn its x_0 into a cube.

    Attributes:
        pair: The two images.
        start: The cube (B, C, H, W) that an x_0 of zeros would stand for, or what the network starts from.
        condition: (B, k, H, W).
        subspace: Of the scenes' spectra.
    """

    pair: PairObservation
    start: Tensor
    condition: Tensor
    subspace: Subspace


@dataclass(frozen=True, eq=False)
class Estimate:
    """The outcome of a network on a training batch.

    Attributes:
        prediction: Its raw output.
        target: The value that the output should have.
        x0: The x_0 that the output implies.
        hr: The truth (B, C, H, W).
        given: The condition.
    """

    prediction: Tensor
    target: Tensor
    x0: Tensor
    hr: Tensor
    given: Given
