"""Groups of params.yaml on the models that fuse an LR-HSI with an HR-MSI."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.params.base import Group, NonNegative, Positive
from hsipipe.params.single import UnetParams
from hsipipe.params.training import LossParams, OptimizerParams


class FusionStepsParams(Group):
    """Network evaluations per sample of each fusion model, in the place of `sampling.steps`."""

    fusion_fast: Positive
    """Of fusion-fast."""
    ddpmfus: Annotated[int, Field(ge=2)]
    """Of ddpmfus, which predicts noise: one evaluation would divide by almost nothing."""
    hsrdiff: Positive
    """Of hsrdiff; 100 in the paper."""


class FusionParams(Group):
    """What all fusion models share; changes here need no new training."""

    response: Literal["given", "estimated"]
    """Spectral response that a prediction works with: that of the pairs, or one estimated from each scene's own pair
    (as it always is with `degradation.srf: measured`)."""
    steps: FusionStepsParams

    def steps_of(self, model: str) -> int:
        """Network evaluations per sample of the model of this name."""
        return int(getattr(self.steps, model.replace("-", "_")))


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


class FusionFastParams(Group):
    """The model fusion-fast: few steps from the guided interpolation of the LR-HSI, in a subspace of its own."""

    components: Positive
    """Directions L of the spectral subspace that is estimated from the LR-HSI; at most its bands are taken."""
    windows: Annotated[list[Positive], Field(min_length=1)]
    """Radii in LR pixels of the windows in which the LR-HSI is regressed on the HR-MSI; the first is the start."""
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    """Features of the network."""
    blocks: Positive
    """Residual blocks of the network."""
    diffusion: FusionDiffusionParams
    loss: LossParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights, order of the patches, noise."""


class DdpmfusParams(Group):
    """The model ddpmfus (arXiv 2307.03423): a U-Net on noisy HR-HSI, interpolated LR-HSI and HR-MSI."""

    unet: UnetParams
    diffusion: FusionDiffusionParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights, order of the patches, noise."""

    @model_validator(mode="after")
    def _noise_can_be_predicted(self) -> "DdpmfusParams":
        if self.diffusion.schedule != "linear":
            raise ValueError(
                f"diffusion.schedule must be linear, got {self.diffusion.schedule}: the network predicts noise, and "
                "from pure noise x_0 follows by a division by sqrt(gamma_T), which the cosine makes almost zero"
            )
        if self.diffusion.validation_steps < 2:
            raise ValueError("diffusion.validation_steps must be at least 2: one step of predicted noise gives noise")
        return self


class CdformerParams(Group):
    """The network of hsrdiff (arXiv 2306.12085, section 3.2)."""

    width: Positive
    """Features everywhere; a multiple of `heads`."""
    levels: Positive
    """Levels of both streams: one NC-S2TL each in the denoising stream."""
    layers: Positive
    """S2TLs of the super-resolution stream in each level."""
    window: Positive
    """Edge in pixels of the windows of the spatial attention."""
    heads: Positive
    """Heads of every attention."""
    expansion: Annotated[float, Field(gt=0)]
    """Hidden features of the gated feed-forward, as a multiple of the width."""
    checkpoint: bool
    """Compute the layers again in the backward pass instead of keeping what is inside them: a fraction of the memory
    for a third more time."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "CdformerParams":
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width ({self.width}) must be an even multiple of heads ({self.heads})")
        return self


class ObservationLossParams(Group):
    """Weights of the terms of hsrdiff's loss (arXiv 2306.12085, eq. 8), each a mean absolute error."""

    truth: Annotated[float, Field(ge=0)]
    """Of the predicted HR-HSI."""
    lr: Annotated[float, Field(ge=0)]
    """Of the predicted HR-HSI, degraded, against the LR-HSI."""
    msi: Annotated[float, Field(ge=0)]
    """Of the predicted HR-HSI through the spectral response against the HR-MSI."""


class PhaseParams(Group):
    """One phase of a progressive training."""

    until: Annotated[float, Field(gt=0, le=1)]
    """Share of the optimiser's steps at which it ends."""
    size: Positive
    """Edge of the training images in HR pixels: a part of the patch, or all of it."""
    batch: Positive
    """Images of a step, at most `optimizer.batch`."""
    trains: Literal["all", "second_half"]
    """Which levels of the network learn."""


class HsrdiffParams(Group):
    """The model hsrdiff (arXiv 2306.12085): CDFormer, which predicts the HR-HSI itself."""

    net: CdformerParams
    diffusion: FusionDiffusionParams
    loss: ObservationLossParams
    progressive: Annotated[list[PhaseParams], Field(min_length=1)]
    """From small images to full ones; the last phase ends at 1."""
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights, order of the patches, noise."""

    @model_validator(mode="after")
    def _phases_follow_each_other(self) -> "HsrdiffParams":
        ends = [phase.until for phase in self.progressive]
        if ends != sorted(set(ends)) or ends[-1] != 1:
            raise ValueError(f"progressive must have rising ends, the last of them 1, got {ends}")
        most = max(phase.batch for phase in self.progressive)
        if most > self.optimizer.batch:
            raise ValueError(
                f"progressive asks for batches of {most}, more than optimizer.batch ({self.optimizer.batch})"
            )
        return self


class ResidualFusionParams(Group):
    """The control residual-fusion: a plain residual network on the concatenated inputs."""

    width: Positive
    """Features of its convolutions."""
    blocks: Positive
    """Residual blocks of two convolutions."""
    loss: LossParams
    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights and order of the patches."""
