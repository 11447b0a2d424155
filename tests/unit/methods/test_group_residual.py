"""group-residual, beyond the contract of all methods."""

import numpy as np
import pytest
import torch

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.base import Frame
from hsipipe.methods.group_residual import GroupResidual

BANDS, SCALE = 10, 4


@pytest.fixture
def build(settings_of):
    """A function that makes a model, with a last convolution that is no longer zero unless it is untrained."""

    def build(*, untrained=False, bands=BANDS, **changes) -> GroupResidual:
        torch.manual_seed(0)
        settings = settings_of("group-residual", width=8, blocks=2, **changes)
        model = GroupResidual(Frame(bands, SCALE), settings)
        if not untrained:
            torch.nn.init.normal_(model.tail.weight, std=0.1)
        return model.eval().requires_grad_(False)

    return build


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((2, BANDS, 6, 5), dtype=np.float32)


def added(model, lr):
    """Difference between prediction and interpolation."""
    return model.predict(lr) - upsample(lr, SCALE)


def test_untrained_it_is_bicubic_interpolation(build, lr):
    np.testing.assert_allclose(build(untrained=True).predict(lr), upsample(lr, SCALE), atol=1e-5)


def test_a_group_depends_on_its_own_bands_alone(build, lr):
    model, other = build(n_subs=5, n_ovls=0), lr.copy()
    other[:, 5:] += 1
    np.testing.assert_array_equal(added(model, lr)[:, :5], added(model, other)[:, :5])
    assert np.abs(added(model, lr)[:, 5:] - added(model, other)[:, 5:]).max() > 1e-3


def test_equal_groups_get_equal_detail(build, lr):
    lr[:, 5:] = lr[:, :5]
    detail = added(build(n_subs=5, n_ovls=0), lr)
    np.testing.assert_allclose(detail[:, :5], detail[:, 5:], atol=1e-5)


def test_bands_that_groups_share_get_the_mean(build, lr):
    model = build(n_subs=6, n_ovls=2)
    first, last = (added(build(bands=6, n_subs=6, n_ovls=0), lr[:, start : start + 6]) for start in (0, 4))
    detail = added(model, lr)
    np.testing.assert_allclose(detail[:, :4], first[:, :4], atol=1e-5)
    np.testing.assert_allclose(detail[:, 4:6], (first[:, 4:] + last[:, :2]) / 2, atol=1e-5)
    np.testing.assert_allclose(detail[:, 6:], last[:, 2:], atol=1e-5)


def test_detail_is_proportional_to_brightness(build, lr):
    model = build()
    np.testing.assert_allclose(added(model, 4 * lr), 4 * added(model, lr), rtol=1e-4, atol=1e-4)


def test_a_cube_of_fewer_bands_than_a_group_is_one_group(build, lr):
    assert build(bands=3, n_subs=8, n_ovls=4).predict(lr[:, :3]).shape == (2, 3, 24, 20)
