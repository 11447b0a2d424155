import pytest
import torch

from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.diffusion.schedules import make_schedule
from hsipipe.diffusion.targets import diffuse, to_noise, to_x0, training_target

SCHEDULE = make_schedule("cosine", 1000)


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
    """For data N(1.5, 0.5^2) the best denoiser is known; its samples must be N(1.5, 0.5^2) again."""
    mean, variance = 1.5, 0.25

    def denoise(x, gamma):
        g = gamma.reshape(-1, 1, 1, 1)
        return mean + g.sqrt() * variance / (g * variance + 1 - g) * (x - g.sqrt() * mean)

    samples = _sample(name, denoise, steps=200, shape=(1, 1, 200, 200))
    assert float(samples.mean()) == pytest.approx(mean, abs=0.02)
    assert float(samples.std()) == pytest.approx(variance**0.5, abs=0.02)


@pytest.mark.parametrize("target", ["x0", "epsilon", "v"])
def test_targets_and_conversions_are_inverse(target):
    x0, noise = torch.randn(2, 4, 3, 3, 3, dtype=torch.float64)
    gamma = torch.tensor([0.9, 0.5, 0.1, 0.01], dtype=torch.float64)
    x_t = diffuse(x0, noise, gamma)
    perfect = training_target(target, x0=x0, noise=noise, gamma=gamma)
    recovered = to_x0(target, perfect, x_t=x_t, gamma=gamma)
    torch.testing.assert_close(recovered, x0)
    torch.testing.assert_close(to_noise(x0=recovered, x_t=x_t, gamma=gamma), noise)
