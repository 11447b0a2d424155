import math

import numpy as np
import pytest
import torch

from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.diffusion.schedules import NoiseSchedule, make_schedule
from hsipipe.diffusion.targets import diffuse, to_noise, to_x0, training_target

SCHEDULE = make_schedule("cosine", 1000)
MEAN, VARIANCE = 1.5, 0.25
START = torch.randn(1, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _posterior_mean(x, gamma):
    """The best denoiser for data N(MEAN, VARIANCE)."""
    g = gamma.reshape(-1, *[1] * (x.ndim - 1))
    return MEAN + g.sqrt() * VARIANCE / (g * VARIANCE + 1 - g) * (x - g.sqrt() * MEAN)


def _error(name, schedule, steps):
    """Distance from the probability-flow ODE's solution, which keeps the standard score of every pixel."""
    gamma = float(schedule.gammas[-1])
    exact = MEAN + VARIANCE**0.5 * (START - gamma**0.5 * MEAN) / (gamma * VARIANCE + 1 - gamma) ** 0.5
    got = SAMPLERS[name](_posterior_mean, lambda draw: START, schedule=schedule, steps=steps)
    return float((got - exact).abs().max())


def _even_in_log_snr(steps):
    """A schedule of which every step is one step of sampling, of equal length in log-SNR but for the last."""
    log_snr = torch.linspace(8, -4, steps, dtype=torch.float64)
    return NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), torch.sigmoid(2 * log_snr)]))


def _to_pure_noise(steps):
    """Gamma is exactly 1 at the start and exactly 0 at the end."""
    gammas = torch.cos(torch.linspace(0, math.pi / 2, steps + 1, dtype=torch.float64)) ** 2
    gammas[-1] = 0.0
    return NoiseSchedule(gammas)


def _sample(name, denoise, *, steps, shape=(2, 3, 8, 8)):
    def noise(draw):
        return torch.randn(shape, generator=torch.Generator().manual_seed(draw), dtype=torch.float64)

    return SAMPLERS[name](denoise, noise, schedule=SCHEDULE, steps=steps)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_perfect_denoiser_gives_the_image(name, steps):
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    calls = []

    def denoise(x, gamma):
        calls.append(gamma)
        return image

    assert torch.equal(_sample(name, denoise, steps=steps), image)
    assert len(calls) == steps


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_moments_of_the_data(name):
    samples = _sample(name, _posterior_mean, steps=200, shape=(1, 1, 200, 200))
    assert float(samples.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(samples.std()) == pytest.approx(VARIANCE**0.5, abs=0.02)


@pytest.mark.parametrize(("name", "ratio"), [("ddim", 2), ("dpmpp_2m", 4)])
def test_order_of_convergence(name, ratio):
    """Half the step, half the error: first order; a quarter of the error: second order."""
    errors = [_error(name, _even_in_log_snr(steps), steps) for steps in (64, 128, 256)]
    assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(ratio, rel=0.05)


@pytest.mark.parametrize(("name", "low", "high"), [("ddim", 0.9, 1.1), ("dpmpp_2m", 1.8, 2.3)])
def test_order_of_convergence_on_the_cosine_schedule(name, low, high):
    schedule = make_schedule("cosine", 2**14)
    order = math.log(_error(name, schedule, 16) / _error(name, schedule, 256), 16)
    assert low < order < high


@pytest.mark.parametrize(("name", "steps", "kept"), [("ddim", 4, 0.73), ("ddim", 10, 0.88), ("dpmpp_2m", 10, 0.98)])
def test_few_steps_keep_less_of_the_deviation_of_standard_normal_data(name, steps, kept):
    """Why samples of few DDIM steps are too narrow, with a perfect network, too."""
    start = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    exact = SAMPLERS[name](
        lambda x, g: g.sqrt()[:, None, None, None] * x, lambda _: start, schedule=SCHEDULE, steps=steps
    )
    assert float(exact.std() / start.std()) == pytest.approx(kept, abs=0.01)


def test_a_schedule_that_ends_in_nothing_but_noise_is_sampled():
    schedule = _to_pure_noise(1024)
    errors = [_error("dpmpp_2m", schedule, steps) for steps in (64, 256)]
    assert errors[1] < errors[0] / 4
    assert errors[1] < _error("ddim", schedule, 256) / 10


@pytest.mark.parametrize("schedule", [SCHEDULE, make_schedule("linear", 1000), _to_pure_noise(1000)])
@pytest.mark.parametrize("steps", [1, 2])
def test_one_and_two_steps_of_dpm_solver_are_ddim(schedule, steps):
    first, second = (
        SAMPLERS[name](_posterior_mean, lambda draw: START, schedule=schedule, steps=steps)
        for name in ("ddim", "dpmpp_2m")
    )
    np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20])
def test_dpm_solver_is_that_of_diffusers(steps):
    diffusers = pytest.importorskip(
        "diffusers", reason="diffusers is no dependency; install it to compare with it", exc_type=ImportError
    )
    schedule = make_schedule("linear", 1000)
    theirs = diffusers.DPMSolverMultistepScheduler(
        trained_betas=(1 - schedule.gammas[1:] / schedule.gammas[:-1]).numpy(),
        prediction_type="sample",
        solver_order=2,
        lower_order_final=False,
        final_sigmas_type="zero",
    )
    theirs.set_timesteps(timesteps=[t - 1 for t in schedule.timesteps(steps)])  # theirs begin after the first step
    expected = START
    for t in theirs.timesteps:
        x0 = _posterior_mean(expected, schedule.gammas[int(t) + 1].reshape(1))
        expected = theirs.step(x0, t, expected).prev_sample
    got = SAMPLERS["dpmpp_2m"](_posterior_mean, lambda draw: START, schedule=schedule, steps=steps)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", ["x0", "epsilon", "v"])
def test_targets_and_conversions_are_inverse(target):
    x0, noise = torch.randn(2, 4, 3, 3, 3, dtype=torch.float64)
    gamma = torch.tensor([0.9, 0.5, 0.1, 0.01], dtype=torch.float64)
    x_t = diffuse(x0, noise, gamma)
    perfect = training_target(target, x0=x0, noise=noise, gamma=gamma)
    recovered = to_x0(target, perfect, x_t=x_t, gamma=gamma)
    np.testing.assert_allclose(recovered, x0, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(to_noise(x0=recovered, x_t=x_t, gamma=gamma), noise, rtol=1e-7, atol=1e-7)
