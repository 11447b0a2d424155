"""Noise schedules: gamma_t, the remaining share of the signal power at timestep t of T."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hsipipe.registry import Registry


class NoiseSchedule:
    """A noise schedule, the table gamma_0 = 1 > gamma_1 > ... > gamma_T.

    Args:
        gammas: (T + 1,) float64.
    """

    def __init__(self, gammas: Tensor) -> None:
        self.gammas = gammas
        self.steps = len(gammas) - 1

    def draw(self, count: int, *, generator: torch.Generator, terminal_share: float = 0.0) -> Tensor:
        """Draw noise levels for training, (count,): t ~ U{1..T}, gamma ~ U(gamma_t, gamma_{t-1}).

        Source: WaveGrad, arXiv 2009.00713, section 3.3, as used by SR3.

        Args:
            count: Number of levels.
            generator: Random generator.
            terminal_share: Probability of gamma_T instead, the level at which sampling starts.
        """
        t = torch.randint(1, self.steps + 1, (count,), generator=generator)
        share = torch.rand(count, generator=generator, dtype=torch.float64)
        low, high = self.gammas[t], self.gammas[t - 1]
        gamma = low + share * (high - low)
        if terminal_share:
            terminal = torch.rand(count, generator=generator) < terminal_share
            gamma = torch.where(terminal, self.gammas[-1], gamma)
        return gamma.float()

    def timesteps(self, count: int) -> list[int]:
        """Return `count` timesteps from T down to 0, exclusive; samplers take t_prev from this list."""
        spread = torch.linspace(self.steps, 0, count + 1, dtype=torch.float64)[:-1]
        return sorted({max(1, round(float(t))) for t in spread}, reverse=True)


def linear(steps: int) -> NoiseSchedule:
    """Make the schedule of SR3: beta grows linearly from 1e-6 to 1e-2 at T = 2000, rescaled to other T.

    Source: arXiv 2104.07636, section 2.4; https://doi.org/10.48550/arXiv.2104.07636.
    """
    beta = torch.linspace(1e-6, 1e-2, steps, dtype=torch.float64) * (2000 / steps)
    return NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta, dim=0)]))


def cosine(steps: int) -> NoiseSchedule:
    """Make Nichol and Dhariwal's schedule with offset 0.008 and beta at most 0.999 (arXiv 2102.09672, eq. 17)."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - beta, dim=0)]))


_TABLE: Registry[Callable[[int], NoiseSchedule]] = Registry(
    "noise schedule",
    {"linear": "hsipipe.diffusion.schedules:linear", "cosine": "hsipipe.diffusion.schedules:cosine"},
)


def make_schedule(name: str, steps: int) -> NoiseSchedule:
    """Make the schedule `name` with T = `steps` timesteps.

    Raises:
        UnknownNameError: The schedule is unknown.
    """
    return _TABLE[name](steps)
