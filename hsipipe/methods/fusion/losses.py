"""Losses of fusion networks between cubes."""

from torch import Tensor

from hsipipe.methods.fusion.setup import Estimate
from hsipipe.methods.losses import at_valid, cube_loss
from hsipipe.params import LossParams

_BEFORE = 0.1
"""Weight of the loss of the estimate before its projection."""


def projected_loss(sr: Tensor, made: Estimate, weights: LossParams) -> Tensor:
    """Compute the loss between cubes after the projection onto the observations, plus a small share before it.

    The network need not learn what the projection corrects. The second term keeps the components that the projection
    removes from drifting, since they do not affect the first term.

    Args:
        sr: The estimate (B, C, H, W), not projected.
        made: Contains the truth and the observations.
        weights: Weights of the loss terms, used before and after the projection.
    """
    after, before = (at_valid(cube, made.hr, made.valid) for cube in (made.given.pair.project(sr), sr))
    return cube_loss(after, made.hr, weights) + _BEFORE * cube_loss(before, made.hr, weights)
