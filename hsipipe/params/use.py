"""Groups of params.yaml on the use of trained methods."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hsipipe.params.base import Group, NonNegative, Positive, Sampler


class SharpParams(Group):
    """One sharp image of a posterior: its diffusion in few steps, from the prediction and little noise."""

    steps: Positive
    """Network evaluations; one gives the mean of the samples back."""
    noise: Annotated[float, Field(gt=0, le=1)] | None
    """Noise at the start in units of the predicted scale; 1 gives a sample, which is 3 dB below the prediction.
    null: what cost 0.8 dB on the validation, in 3 steps of DPM-Solver++."""


class SamplingParams(Group):
    """Settings of a prediction; a change here needs no new training."""

    mode: Literal["mean", "sharp"]
    """Prediction of a posterior: that of its regression, or one sharp image between it and a sample, which has no
    uncertainty. PMRF (arXiv 2410.00418) has the same aim and trains another flow."""
    sharp: SharpParams
    sampler: Sampler
    """Deterministic; Algorithm 1 of the paper; DPM-Solver++(2M), deterministic and of second order from 3 steps on."""
    steps: Positive
    """Network evaluations per sample."""
    steps_of: dict[str, Positive]
    """Network evaluations per sample of the methods named here, in the place of `steps`."""
    samples: Positive
    """Samples from independent noise whose mean is the prediction of a diffusion without a regression."""
    ensemble: Annotated[int, Field(ge=2)]
    """Samples from which the evaluation measures the uncertainty."""
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
        later = {"mode": "mean", "sharp": {"steps": 3, "noise": None}, "samples": 1, "ensemble": 8}
        return cls.model_validate({**later, "steps_of": {}, "response": "given", **tree})


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
    scenes is registered; of equal ones the one with better samples, then the first. all: every trained method of
    `compare`, those of a pair if any."""
