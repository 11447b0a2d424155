"""Samplers as plain functions of a denoiser ``(x_t, gamma) -> x_0``."""

import math
from collections.abc import Callable

from torch import Tensor

from hsipipe.diffusion.noise import Noise
from hsipipe.diffusion.schedules import NoiseSchedule
from hsipipe.diffusion.targets import to_noise

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""x_t (B, ...) and gamma (B,) to the estimate of x_0 (B, ...)."""


def ddim(denoise: Denoiser, noise: Noise, *, schedule: NoiseSchedule, steps: int) -> Tensor:
    """Sample by deterministic DDIM, eta = 0 (arXiv 2010.02502, eq. 12).

    Args:
        denoise: Denoiser, the estimate of x_0.
        noise: Noise images; the first is x_T (B, ...).
        schedule: Noise schedule of the training.
        steps: Number of function evaluations (NFE).

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
    """Sample ancestrally: the posterior mean of (x_0, x_t) plus sqrt(1 - alpha_t) epsilon.

    Source: DMGASR, arXiv 2402.17285, Algorithm 1; SR3, arXiv 2104.07636, eq. 10; on a subset of the
    timesteps alpha is the ratio of neighbouring gammas of that subset.

    Args:
        denoise: Denoiser, the estimate of x_0.
        noise: Noise images; the first is x_T (B, ...), the others are added step by step.
        schedule: Noise schedule of the training.
        steps: Number of function evaluations (NFE).

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


def dpmpp_2m(denoise: Denoiser, noise: Noise, *, schedule: NoiseSchedule, steps: int) -> Tensor:
    """Sample by DPM-Solver++(2M), deterministic and of second order (arXiv 2211.01095, algorithm 2).

    With alpha = sqrt(gamma), sigma = sqrt(1 - gamma) and lambda = log(alpha / sigma), a step from s to t is
    x_t = sigma_t / sigma_s x_s + (alpha_t - alpha_s sigma_t / sigma_s) D. The bracket is the expanded form of
    alpha_t (1 - exp(lambda_s - lambda_t)) in the algorithm, which also holds at gamma_s = 0, where lambda is minus
    infinity. D extrapolates the last two estimates of x_0 linearly in lambda.

    The first step has no earlier estimate, and the last one ends at gamma = 1, where lambda is infinite: both equal
    those of DDIM. With one or two steps the sampler is thus identical to DDIM.

    Args:
        denoise: Denoiser, the estimate of x_0.
        noise: Noise images; the first is x_T (B, ...).
        schedule: Noise schedule of the training.
        steps: Number of function evaluations (NFE).

    Returns:
        x_0 (B, ...).
    """
    x, timesteps = noise(0), schedule.timesteps(steps)
    earlier, step_before = x, math.inf
    for t, before in zip(timesteps, [*timesteps[1:], 0], strict=True):
        gamma, gamma_before = float(schedule.gammas[t]), float(schedule.gammas[before])
        x0 = denoise(x, _at(schedule, t, x))
        if before == 0:
            return x0
        step = _log_snr(gamma_before) - _log_snr(gamma)
        # 1 / (2 r) of the paper; 0 after the first step and after a step from gamma = 0, which is infinitely long.
        weight = step / (2 * step_before) if math.isfinite(step_before) else 0.0
        extrapolated = x0 + weight * (x0 - earlier)
        shrink = ((1 - gamma_before) / (1 - gamma)) ** 0.5
        x = shrink * x + (gamma_before**0.5 - gamma**0.5 * shrink) * extrapolated
        earlier, step_before = x0, step
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ddim": ddim, "ancestral": ancestral, "dpmpp_2m": dpmpp_2m}


def _log_snr(gamma: float) -> float:
    """Return lambda, half the logarithm of the signal-to-noise power ratio, for gamma below 1."""
    return 0.5 * (math.log(gamma) - math.log1p(-gamma)) if gamma > 0 else -math.inf


def _at(schedule: NoiseSchedule, t: int, x: Tensor) -> Tensor:
    return schedule.gammas[t].to(device=x.device, dtype=x.dtype).expand(len(x))
