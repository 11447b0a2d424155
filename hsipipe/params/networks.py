"""Sizes of the networks that several methods use."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsipipe.params.base import Group, Positive


class UnetParams(Group):
    """The denoising network: SR3's U-Net, optionally on unshuffled pixels."""

    unshuffle: Positive
    """Pixels folded into channels before the first convolution (1: none, as in the paper)."""
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    """Channels of the first level, an even number."""
    multipliers: Annotated[list[Positive], Field(min_length=1)]
    """Channels of each level as multiples of the width."""
    blocks: Positive
    """Residual blocks in each level."""
    attention: list[Positive]
    """Feature map sizes, at the training patch, that get self-attention."""
    norm: Literal["group", "none"]
    """GroupNorm as in SR3, or none: features then do not depend on what else is in the tile."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """Dropout inside the residual blocks."""


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
