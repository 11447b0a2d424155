"""The learning rate of each step, and the moving average of the weights."""

import math

import torch
from torch import nn

from hsipipe.params import OptimizerParams


def learning_rate(step: int, params: OptimizerParams, *, restarts: int = 0, since: int = 0) -> float:
    """Compute the learning rate of `step`, counted from 0: linear warm-up, then a cosine to zero.

    Args:
        step: The step.
        params: Peak rate, warm-up, steps.
        restarts: Number of restarts after a collapse; each halves the rate.
        since: Step from which the last restart went on; the warm-up begins there once more.
    """
    rate = params.lr * 0.5**restarts
    if step >= params.warmup:
        share = (step - params.warmup) / max(1, params.steps - params.warmup)
        rate *= 0.5 * (1 + math.cos(math.pi * share))
    return rate * min(1.0, (step - since + 1) / params.warmup) if params.warmup else rate


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move the average of the weights towards those of `module` after `step`; buffers are copied."""
    # A short memory at first, so that the initial weights are forgotten quickly.
    decay = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast.detach(), 1 - decay)
    for kept, current in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(current)
