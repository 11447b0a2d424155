"""Mean and standard deviation of samples, without holding all samples in memory."""

from collections.abc import Iterable

import torch
from torch import Tensor


def moments(samples: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation (K - 1 in its denominator) of K samples; the latter is zero for K = 1.

    Source: Welford 1962, https://doi.org/10.1080/00401706.1962.10490022, running moments.

    Args:
        samples: At least one; all of the same shape.
    """
    mean, squares, count = torch.zeros(()), torch.zeros(()), 0
    for count, sample in enumerate(samples, start=1):
        if count == 1:
            mean, squares = torch.zeros_like(sample), torch.zeros_like(sample)
        away = sample - mean
        mean = mean + away / count
        squares = squares + away * (sample - mean)
    return mean, (squares / max(1, count - 1)).sqrt()
