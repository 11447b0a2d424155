"""Groups of params.yaml on the use of trained methods."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hsipipe.params.base import Group, NonNegative, Positive, Sampler


class SamplingParams(Group):
    """Settings of a prediction; a change here needs no new training."""

    sampler: Sampler
    """Deterministic; Algorithm 1 of the paper; DPM-Solver++(2M), deterministic and of second order from 3 steps on."""
    steps: Positive
    """Network evaluations per sample."""
    steps_of: dict[str, Positive]
    """Network evaluations per sample of the methods named here, in the place of `steps`."""
    samples: Positive
    """Samples from independent noise; a prediction is their mean, and their spread is its uncertainty."""
    residual_decode: bool
    """Add the decoded change to the interpolated input, so that the autoencoder's loss cancels (dmgasr)."""
    consistency: NonNegative
    """Back-projection iterations towards the LR input; 0 switches it off. A fusion method projects its prediction
    onto both inputs once, unless this is 0."""
    response: Literal["given", "estimated"]
    """Spectral response that a fusion method works with: the one of the pairs, or one estimated from each scene's
    pair (always estimated with `degradation.srf: measured`)."""
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

    def of(self, method: str) -> "SamplingParams":
        """The sampling of one method: its entry in `steps_of` takes the place of `steps`."""
        return self.model_copy(update={"steps": self.steps_of.get(method, self.steps), "steps_of": {}})

    @classmethod
    def saved(cls, tree: dict[str, Any]) -> Self:
        """Read the sampling that a saved model holds; keys that were added later have their neutral value."""
        return cls.model_validate({"samples": 1, "steps_of": {}, "response": "given", **tree})


class StepsParams(Group):
    """Further evaluations of trained methods with other numbers of sampling steps; each is a row of the table."""

    methods: list[str]
    """Names out of `compare`."""
    values: list[Positive]
    """Network evaluations per sample."""


class RegistryParams(Group):
    """Selection of the registered model."""

    candidates: Literal["all"] | Annotated[list[str], Field(min_length=1)]
    """Names out of `compare`, all of one image or all of a pair. The one with the highest MPSNR on the validation
    scenes is registered; of equal ones the first. all: every trained method of `compare`, those of a pair if any."""
