"""Settings of the latent diffusion of DMGASR."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.methods.dmgasr.latent_net import Objective
from hsipipe.params import LossParams, Positive, Sampler, TrainingParams, UnetParams


class DiffusionLossParams(LossParams):
    """Weights of the terms of the diffusion's loss.

    Those between cubes compare what the estimate of x_0 and the true x_0 decode to.
    """

    target: Annotated[float, Field(ge=0)]
    """Error of what the network predicts, in latent space: the loss of the papers."""
    norm: Literal["l1", "l2", "huber"]
    """Mean absolute or mean squared error, or Huber's loss: squared up to half of a standard deviation, absolute
    beyond. Where most of x_0 is zero, the absolute error alone holds a network at zero for long."""


class DmgasrSettings(TrainingParams):
    """The latent diffusion and its training."""

    objective: Objective
    """diffusion, or regression: the same network trained to predict in one step, as a trained baseline."""
    steps: Annotated[int, Field(ge=1000)]
    """T, the noise levels in training."""
    schedule: Literal["linear", "cosine"]
    """How gamma falls from 1 to 0."""
    space: Literal["residual", "latent"]
    """What is diffused: HR minus LR latent (starts at the LR latent), or the HR latent itself."""
    target: Literal["x0", "epsilon", "v"]
    """What the network predicts."""
    scale_input: bool
    """Multiply the noisy image by sqrt(gamma), its share of signal, before the network sees it."""
    terminal_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the training images at the last noise level, where sampling starts; few steps need it."""
    validation_sampler: Sampler
    """How a checkpoint is chosen; `sampling` does not matter for that."""
    validation_steps: Positive
    """Network evaluations per image when a checkpoint is chosen."""
    unet: UnetParams
    loss: DiffusionLossParams

    @model_validator(mode="after")
    def _noise_can_be_predicted(self) -> "DmgasrSettings":
        if self.target == "epsilon" and (self.scale_input or self.schedule == "cosine"):
            raise ValueError(
                "target epsilon needs scale_input: false and schedule: linear; from pure noise x_0 follows by a "
                "division by sqrt(gamma_T), which the cosine schedule makes almost zero"
            )
        return self
