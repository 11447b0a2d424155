"""Samplers as plain functions of a denoiser ``(x_t, gamma) -> x_0``."""

from collections.abc import Callable

from torch import Tensor

from hsipipe.diffusion.noise import Noise
from hsipipe.diffusion.schedules import NoiseSchedule
from hsipipe.diffusion.targets import to_noise

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""x_t (B, ...) and gamma (B,) to the estimate of x_0 (B, ...)."""


def ddim(denoise: Denoiser, noise: Noise, *, schedule: NoiseSchedule, steps: int) -> Tensor:
    """Deterministic DDIM, eta = 0 (arXiv 2010.02502, eq. 12).

    Args:
        denoise: Estimates x_0.
        noise: Its first image is x_T (B, ...).
        schedule: The gammas of the training.
        steps: Network evaluations.

    Returns:
        x_0 (B, ...).
    """
    x, timesteps = noise(0), schedule.timesteps(steps)
    for t, before in zip(timesteps, [*timesteps[1:], 0], strict=True):
        gamma, gamma_before = _at(schedule, t, x), _at(schedule, before, x)
        x0 = denoise(x, gamma)
        if before == 0:
            return x0
        epsilon = to_noise(x0=x0, x_t=x, gamma=gamma)
        g = gamma_before.reshape(-1, *[1] * (x.ndim - 1))
        x = g.sqrt() * x0 + (1 - g).sqrt() * epsilon
    return x


def ancestral(denoise: Denoiser, noise: Noise, *, schedule: NoiseSchedule, steps: int) -> Tensor:
    """Ancestral sampling: the posterior mean of (x_0, x_t) plus sqrt(1 - alpha_t) epsilon.

    Source: DMGASR, arXiv 2402.17285, Algorithm 1; SR3, arXiv 2104.07636, eq. 10; on a subset of the
    timesteps alpha is the ratio of neighbouring gammas of that subset.

    Args:
        denoise: Estimates x_0.
        noise: Its first image is x_T (B, ...), the others are added step by step.
        schedule: The gammas of the training.
        steps: Network evaluations.

    Returns:
        x_0 (B, ...).
    """
    x, timesteps = noise(0), schedule.timesteps(steps)
    for index, (t, before) in enumerate(zip(timesteps, [*timesteps[1:], 0], strict=True), start=1):
        gamma, gamma_before = float(schedule.gammas[t]), float(schedule.gammas[before])
        x0 = denoise(x, _at(schedule, t, x))
        if before == 0:
            return x0
        alpha = gamma / gamma_before
        mean = gamma_before**0.5 * (1 - alpha) / (1 - gamma) * x0 + alpha**0.5 * (1 - gamma_before) / (1 - gamma) * x
        x = mean + (1 - alpha) ** 0.5 * noise(index)
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddim": ddim, "ancestral": ancestral}


def _at(schedule: NoiseSchedule, t: int, x: Tensor) -> Tensor:
    return schedule.gammas[t].to(device=x.device, dtype=x.dtype).expand(len(x))
