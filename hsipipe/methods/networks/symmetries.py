"""The eight symmetries of the square: a network over all of them, the self-ensemble (Timofte et al., 1511.02228)."""

from collections.abc import Callable

import torch
from torch import Tensor

SYMMETRIES = 8


def mean_over_symmetries(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Return the mean output of a network over the turned and mirrored image, each turned back.

    Args:
        network: Maps (B, C, h, w) to (B, D, H, W).
        image: (B, C, h, w).

    Returns:
        (B, D, H, W); turning and mirroring the image turns and mirrors it.
    """
    outputs = []
    for turns in range(4):
        for mirrors in ((), (3,)):
            view = image.rot90(turns, (2, 3)).flip(mirrors)
            outputs.append(network(view.contiguous()).flip(mirrors).rot90(-turns, (2, 3)))
    return torch.stack(outputs).mean(dim=0)
