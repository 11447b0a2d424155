"""Random numbers of a training step: functions of the seed and the step alone."""

from dataclasses import dataclass

import torch
from torch import Tensor


def generator_for(seed: int, step: int, *, stream: int = 0) -> torch.Generator:
    """A generator that depends on (seed, step, stream) alone."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 97 + stream) % 2**63)


@dataclass(frozen=True)
class Draws:
    """What a loss may draw in a step. Numbers are drawn for the whole batch and then cut to a process's part.

    Attributes:
        seed: Of the training.
        step: From 0.
        total: Images in the whole batch.
        part: The images of this process.
    """

    seed: int
    step: int
    total: int
    part: slice

    def generator(self, stream: int) -> torch.Generator:
        """A generator of this step; streams 0 and 1 belong to the loop."""
        return generator_for(self.seed, self.step, stream=stream)

    def mine(self, drawn: Tensor, count: int) -> Tensor:
        """The part of numbers that were drawn for the whole batch, for `count` images."""
        return drawn[self.part][:count]
