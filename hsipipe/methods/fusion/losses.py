"""Losses of fusion networks between cubes."""

from torch import Tensor

from hsipipe.methods.fusion.setup import Estimate
from hsipipe.methods.losses import cube_loss
from hsipipe.params import LossParams

_BEFORE = 0.1
"""Share of the loss that looks at the estimate before its projection."""


def projected_loss(sr: Tensor, made: Estimate, weights: LossParams) -> Tensor:
    """The loss between cubes after the projection onto the observations, and a share of that before it.

    The network need not learn what the projection repairs; a little of the other term keeps what the projection removes
    from drifting, since a prediction can do without it.

    Args:
        sr: The estimate (B, C, H, W), not projected.
        made: With the truth and the observations.
        weights: Of the terms of either.
    """
    projected = cube_loss(made.given.pair.project(sr), made.hr, weights)
    return projected + _BEFORE * cube_loss(sr, made.hr, weights)
