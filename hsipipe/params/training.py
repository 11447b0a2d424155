"""Groups of params.yaml on every training: optimiser, losses, hardware."""

from typing import Annotated, Literal

from pydantic import Field

from hsipipe.params.base import Group, NonNegative, Positive


class OptimizerParams(Group):
    """AdamW and its schedule, for one training."""

    steps: Positive
    """Optimiser steps."""
    batch: Positive
    """Patches in a batch (each of them brings all its groups)."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Weight decay of AdamW."""
    warmup: NonNegative
    """Steps of linear warm-up; then a cosine to zero."""
    ema: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of the weights; 0 switches it off."""
    validate_every: Positive
    """Steps between two validations; the best one is the checkpoint."""
    patience: NonNegative
    """Validations without a new best after which training stops; 0: never."""
    save_every: Positive
    """Steps between two resume points; they survive a kill."""


class LossParams(Group):
    """Weights of the terms of a loss between cubes."""

    l1: Annotated[float, Field(ge=0)]
    """Mean absolute error."""
    sam: Annotated[float, Field(ge=0)]
    """Spectral angle over pi."""
    gradient: Annotated[float, Field(ge=0)]
    """L1 of the finite differences along x, y and band."""


class PublishedLossParams(LossParams):
    """Weights of all terms from which the losses of the published single-image networks are made."""

    squares: Annotated[float, Field(ge=0)]
    """Sum of the squared errors of an image."""
    variation: Annotated[float, Field(ge=0)]
    """Squared total variation of the output along x, y and band."""
    edges: Annotated[float, Field(ge=0)]
    """L1 error of the gradient magnitudes over x, y and band."""


class HardwareParams(Group):
    """Where training runs."""

    accelerator: Literal["auto", "cpu", "cuda"]
    """auto takes the GPU if there is one."""
    precision: Literal["32-true", "bf16-mixed"]
    """Lightning Fabric's name of the precision."""
    compile: bool
    """Compile the network for its training steps (torch.compile): minutes once, faster steps after."""
    devices: Positive
    """Processes that share each batch of a training, one a GPU; `batch` must be a multiple."""


class TrainingParams(Group):
    """Settings common to all trained methods."""

    optimizer: OptimizerParams
    seed: NonNegative
    """Initial weights, order of the patches, noise."""
