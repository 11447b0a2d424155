"""Losses of fusion networks between cubes."""

from torch import Tensor

from hsipipe.methods.fusion.setup import Estimate
from hsipipe.methods.losses import cube_loss
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
    projected = cube_loss(made.given.pair.project(sr), made.hr, weights)
    return projected + _BEFORE * cube_loss(sr, made.hr, weights)
