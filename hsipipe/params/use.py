"""Groups of params.yaml on what is done with trained models."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.params.base import Group, NonNegative, Positive, Sampler


class ModelParams(Group):
    """Which model is trained, judged and shipped; stages that it does not need train nothing."""

    name: Literal["dmgasr", "fusion-fast", "ddpmfus", "hsrdiff"]
    """dmgasr super-resolves the LR-HSI alone; the others fuse it with the HR-MSI."""

    @property
    def fuses(self) -> bool:
        """Whether it needs an HR-MSI."""
        return self.name != "dmgasr"


class SamplingParams(Group):
    """How a prediction is made; changes here need no new training."""

    sampler: Sampler
    """Deterministic; Algorithm 1 of the paper; DPM-Solver++(2M), deterministic and of second order from 3 steps on."""
    steps: Positive
    """Network evaluations per sample; of the fusion models see `fusion.steps`."""
    samples: Positive
    """Samples from independent noise, of which a prediction is the mean; their spread is its uncertainty."""
    residual_decode: bool
    """Add the decoded change to the interpolated input, so that the autoencoder's loss cancels."""
    consistency: NonNegative
    """Back-projection iterations towards the LR input; 0 switches it off. A fusion model needs no iterations: unless
    it is 0, its prediction is projected onto both of its inputs."""
    tile: Positive
    """LR pixels of a tile's edge in whole-scene prediction."""
    overlap: NonNegative
    """LR pixels of context on each side of a tile; neighbouring tiles share twice as many."""
    seed: NonNegative
    """Noise of the sampler."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> "SamplingParams":
        if self.overlap * 2 >= self.tile:
            raise ValueError(f"overlap ({self.overlap}) must be less than half of tile ({self.tile})")
        return self


class RegistryParams(Group):
    """What may be shipped."""

    candidates: Annotated[list[Literal["model", "regression", "control"]], Field(min_length=1)]
    """The model of `model.name`, the same network as a regression, and its plain control (pca-residual, or
    residual-fusion of an image pair). The one with the highest MPSNR on the validation scenes is registered; of equal
    ones the first."""
