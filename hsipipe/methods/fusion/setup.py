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
    """Settings of the diffusion of a fusion model and its training."""

    steps: Annotated[int, Field(ge=1000)]
    """T, the number of timesteps in training."""
    schedule: Literal["linear", "cosine"]
    """Noise schedule: the decrease of gamma from 1 to 0."""
    terminal_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the training images at the last timestep, where sampling starts; sampling in few steps needs it."""
    validation_steps: Positive
    """Network evaluations per image for choosing a checkpoint."""


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
        psf: PSF of the HSI's sensor, on the grid of the MSI.
        response: Spectral response used for predictions: that of the model (`given`), or one estimated from each
            scene's pair (`estimated`).
    """

    bands: int
    msi_bands: int
    scale: int
    psf: Psf
    response: Literal["given", "estimated"] = "given"


@dataclass(frozen=True)
class Denoising:
    """The task of a network, independent of its layers.

    Attributes:
        objective: `regression`: predict x_0 in one evaluation on zeros instead of noise.
        schedule: Name of the noise schedule.
        steps: Number of timesteps T.
        target: The quantity that the network predicts.
        scale_input: Multiply the noisy image by sqrt(gamma), its share of signal, before the network.
    """

    objective: Objective
    schedule: str
    steps: int
    target: Target
    scale_input: bool


class Scene(NamedTuple):
    """Statistics of whole scenes: the response (c, C), the spectral gain (B, C, c) and the spectral subspace."""

    response: Tensor
    gain: Tensor
    subspace: Subspace


@dataclass(frozen=True, eq=False)
class Given:
    """The condition of a network, and the data that convert its x_0 to a cube.

    Attributes:
        pair: The two images.
        start: The starting point (B, C, H, W): the cube for x_0 = 0, or the image given to the network.
        condition: (B, k, H, W).
        subspace: Spectral subspace of the scenes.
    """

    pair: PairObservation
    start: Tensor
    condition: Tensor
    subspace: Subspace


@dataclass(frozen=True, eq=False)
class Estimate:
    """The result of a network on a training batch.

    Attributes:
        prediction: Raw output.
        target: Target of the output.
        x0: Estimate of x_0 computed from the output.
        hr: The truth (B, C, H, W).
        given: The condition.
        valid: Pixels with data, for :func:`hsipipe.methods.losses.at_valid`; the others have the target in
            `prediction`, and the true x_0 in `x0`.
    """

    prediction: Tensor
    target: Tensor
    x0: Tensor
    hr: Tensor
    given: Given
    valid: Tensor | None = None
