"""Signs of a collapsed training, and gradients that are longer than usual."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hsipipe.training.gradients import CLIP, MAX_SKIPPED, bound_gradients, is_broken
from hsipipe.training.health import DeadLayers, collapse
from hsipipe.training.state import Progress


def history(*values: float, losses: tuple[float, ...] = (), dead: tuple[float, ...] = ()) -> list[dict[str, float]]:
    rows = [{"step": 10 * number, "val_mpsnr_db": value} for number, value in enumerate(values)]
    for row, loss in zip(rows[1:], losses, strict=False):
        row["loss"] = loss
    for row, count in zip(rows, dead, strict=False):
        row["dead_layers"] = count
    return rows


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (history(31.5, 32.0, 32.08, 31.51), "the validation fell from 32.08 to 31.51, the start had 31.5"),
        (history(30.0, 35.0, 30.5), "the validation fell from 35 to 30.5"),
        (history(30.0, 29.9, 30.0, 30.0, 29.0, 29.5), "no validation was above that of the start"),
        (history(33.3, 33.357, 33.34, 33.35, 33.33, 33.34, 33.35), "above that of step 10 (33.36), the start had 33.3"),
        (history(30, 31, 31.1, 31, losses=(1.0, 0.5, 0.99)), "the loss rose from 0.5 to 0.99, at first it was 1"),
        (history(30, 31, 31, dead=(0, 0, 1)), "a layer no longer reacts to its input"),
    ],
)
def test_a_collapse_is_seen_in_the_history(rows, reason):
    assert reason in collapse(rows, steps=100)


@pytest.mark.parametrize(
    "rows",
    [
        history(30.0),
        history(30.0, 31.0, 32.0, 31.8),
        history(30.0, 30.05, 30.0),  # a gain too small to be lost
        history(30.0, 29.0, 30.0, 30.5, losses=(1.0, 0.9, 0.8)),
        history(33.3, 33.31, 33.32, 33.33, 33.34, 33.35, 33.36),  # slow
        history(33.3, 33.45, 33.44, 33.43, 33.44, 33.43, 33.42),  # fast
        history(33.3, 33.36, 33.34, 33.35, 33.33, 33.34),  # not yet half of the steps since the best
        history(30.0, 29.0, 29.5),  # not yet half of the steps
        history(30, 31, 31, dead=(1, 1, 1)),  # a layer that starts at zero
        history(30, 31, 31.1, 31.2, losses=(1.0, 0.5, 1.5)),  # bright patches
        history(math.nan, 29.0, 29.5),
    ],
)
def test_a_training_that_goes_well_is_left_alone(rows):
    assert collapse(rows, steps=100) is None


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=20))
def test_a_training_that_gains_with_each_validation_never_counts_as_collapsed(gains):
    values = [30.0]
    for gain in gains:
        values.append(values[-1] + gain)
    assert collapse(history(*values), steps=10 * len(gains)) is None


def test_a_layer_without_a_unit_that_reacts_is_dead():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    image = torch.rand(2, 1, 5, 5)
    with DeadLayers(network) as layers:
        network(image)
    assert layers.count == 0
    nn.init.constant_(network[0].bias, -100.0)
    with DeadLayers(network) as layers:
        network(image)
    assert layers.count == 1
    assert not network[1]._forward_hooks


def step(state: Progress, norm: float) -> tuple[bool, float]:
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), norm / 2)
    taken = bound_gradients([parameter], state)
    return taken, float(parameter.grad.norm())


def test_usual_gradients_are_not_changed():
    state = Progress()
    for norm in (1.0, 1.5, 0.7, 1.0):
        assert step(state, norm) == (True, pytest.approx(norm, rel=1e-5))
    assert state.skipped == 0


def test_a_long_gradient_is_shortened_and_a_spike_is_skipped():
    state = Progress()
    step(state, 1.0)
    taken, norm = step(state, 5.0)
    assert taken
    assert norm == pytest.approx(CLIP, rel=1e-5)
    for bad in (100.0, math.nan, math.inf):
        assert not step(state, bad)[0]
    assert state.skipped == 3
    assert not is_broken(state)


def test_large_gradients_that_stay_are_believed():
    state = Progress()
    step(state, 1.0)
    assert [step(state, 100.0)[0] for _ in range(MAX_SKIPPED + 2)] == [False] * MAX_SKIPPED + [True, True]
    assert state.skipped_in_a_row == 0


def test_gradients_that_stay_infinite_are_broken():
    state = Progress()
    for _ in range(MAX_SKIPPED + 1):
        step(state, math.inf)
    assert is_broken(state)
