import pytest
import torch

from hsipipe.diffusion.schedules import make_schedule
from hsipipe.errors import UnknownNameError


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1000, 2000])
def test_gamma_falls_from_one_to_almost_nothing(name, steps):
    gammas = make_schedule(name, steps).gammas
    assert len(gammas) == steps + 1
    assert gammas[0] == 1
    assert (gammas.diff() < 0).all()
    assert 0 < gammas[-1] < 1e-3


def test_linear_is_sr3s_at_2000_steps():
    gammas = make_schedule("linear", 2000).gammas
    assert 1 - gammas[1] == pytest.approx(1e-6)
    assert 1 - gammas[-1] / gammas[-2] == pytest.approx(1e-2)


def test_training_levels_lie_between_neighbours_and_repeat_with_the_seed():
    schedule = make_schedule("cosine", 1000)
    drawn = [schedule.draw(500, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert ((drawn[0] > 0) & (drawn[0] <= 1)).all()
    # t is uniform: half of the levels lie in the noisier half of the table
    assert (drawn[0] < schedule.gammas[500]).float().mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("count", [1, 2, 4, 10, 20, 100, 1000])
def test_timesteps_start_at_t_and_fall(count):
    steps = make_schedule("cosine", 1000).timesteps(count)
    assert steps[0] == 1000
    assert len(steps) == count
    assert steps == sorted(set(steps), reverse=True)
    assert min(steps) >= 1


def test_unknown_schedule_lists_the_known():
    with pytest.raises(UnknownNameError, match="cosine, linear"):
        make_schedule("cosinus", 1000)


def test_the_terminal_share_is_at_the_last_level():
    schedule = make_schedule("cosine", 1000)
    drawn = schedule.draw(2000, generator=torch.Generator().manual_seed(0), terminal_share=0.3)
    assert (drawn == schedule.gammas[-1].float()).float().mean() == pytest.approx(0.3, abs=0.05)
