"""Settings of the latent diffusion of DMGASR."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.methods.dmgasr.latent_net import Objective
from hsipipe.params import LossParams, Positive, Sampler, TrainingParams, UnetParams


class DiffusionLossParams(LossParams):
    """Weights of the loss terms of the diffusion.

    The terms between cubes compare the decoded estimate of x_0 with the decoded true x_0.
    """

    target: Annotated[float, Field(ge=0)]
    """Error of the predicted quantity in latent space: the loss of the papers."""
    norm: Literal["l1", "l2", "huber"]
    """Mean absolute error, mean squared error, or Huber loss: squared up to half a standard deviation, absolute
    beyond. Where most of x_0 is zero, the absolute error alone keeps the output of the network at zero for long."""


class DmgasrSettings(TrainingParams):
    """The latent diffusion and its training."""

    objective: Objective
    """diffusion, or regression: the same network trained to predict in one step, as a trained baseline."""
    steps: Annotated[int, Field(ge=1000)]
    """T, the number of timesteps in training."""
    schedule: Literal["linear", "cosine"]
    """Noise schedule: the decrease of gamma from 1 to 0."""
    space: Literal["residual", "latent"]
    """The diffused quantity: HR minus LR latent (starts at the LR latent), or the HR latent."""
    target: Literal["x0", "epsilon", "v"]
    """The quantity that the network predicts."""
    scale_input: bool
    """Multiply the noisy image by sqrt(gamma), its share of signal, before the network."""
    terminal_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the training images at the last timestep, where sampling starts; sampling in few steps needs it."""
    validation_sampler: Sampler
    """Sampler for choosing a checkpoint; `sampling` has no effect on the choice."""
    validation_steps: Positive
    """Network evaluations per image for choosing a checkpoint."""
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
