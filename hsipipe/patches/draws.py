"""Random numbers of a training step, which depend only on the seed and the step."""

from dataclasses import dataclass

import torch
from torch import Tensor


def generator_for(seed: int, step: int, *, stream: int = 0) -> torch.Generator:
    """Return a generator that depends only on (seed, step, stream)."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 97 + stream) % 2**63)


@dataclass(frozen=True)
class Draws:
    """Random numbers of the loss in a step. They are drawn for the whole batch and then cut to the part of a process.

    Attributes:
        seed: Seed of the training.
        step: Optimizer step, from 0.
        total: Number of images in the whole batch.
        part: The images of this process.
    """

    seed: int
    step: int
    total: int
    part: slice

    def generator(self, stream: int) -> torch.Generator:
        """Return a generator of this step; streams 0 and 1 are reserved for the training loop."""
        return generator_for(self.seed, self.step, stream=stream)

    def mine(self, drawn: Tensor, count: int) -> Tensor:
        """Cut numbers drawn for the whole batch to the part of this process, `count` images."""
        return drawn[self.part][:count]
