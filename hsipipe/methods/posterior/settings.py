"""Settings of the posterior of a regression."""

from typing import Annotated, Literal

from pydantic import Field

from hsipipe.params import Positive, TrainingParams, UnetParams


class PosteriorSettings(TrainingParams):
    """The distribution of what a regression leaves open, and its training."""

    objective: Literal["diffusion", "heteroscedastic"]
    """diffusion, or heteroscedastic: the predicted scale alone, values independent of each other; the baseline."""
    components: Positive
    """Components of the spectra of the residual; limited by the number of bands. What is left is white noise."""
    condition_components: Positive
    """Components of the spectra of the prediction, as condition of the networks; limited by the number of bands."""
    steps: Annotated[int, Field(ge=1000)]
    """T, the number of timesteps of the diffusion in training."""
    scale_net: UnetParams
    """The network of the scale."""
    diffusion_net: UnetParams
    """The network of the diffusion."""
    validation_samples: Annotated[int, Field(ge=2)]
    """Samples from which a checkpoint is chosen and the intervals are calibrated."""
    validation_steps: Positive
    """Network evaluations per sample for these."""
