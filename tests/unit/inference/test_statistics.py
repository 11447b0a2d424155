"""Statistics of samples around a guarded prediction."""

import numpy as np
import pytest
from samplers import Spreads

from hsipipe.errors import ParamsError
from hsipipe.inference.statistics import Statistic, guarded_statistics
from hsipipe.methods.bicubic import Bicubic

SIZE = {"tile": 64, "overlap": 0}


class Checkered(Spreads, Bicubic):
    """Interpolation with a checkerboard in its left half."""

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        up = super().predict(lr)
        rows, columns = np.indices(up.shape[-2:])
        board = np.where((rows + columns) % 2, 0.4, -0.4) * (columns < up.shape[-1] // 2)
        return up + board.astype(np.float32)


@pytest.fixture
def lr():
    y, x = np.mgrid[:32, :32] / 32
    return np.stack([0.5 + 0.2 * np.sin(9 * x + 5 * y + k) for k in range(3)]).astype(np.float32)


WANTED = [Statistic("mean"), Statistic("std"), Statistic.quantile(0.05), Statistic.quantile(0.95)]


def test_quantiles_lie_around_the_prediction(lr):
    (mean, std, low, high), _ = guarded_statistics(Checkered(2), lr, WANTED, count=8, guard="off", **SIZE)
    np.testing.assert_allclose(high - mean, 2 * 1.8946 * std, rtol=1e-3)
    np.testing.assert_allclose(mean - low, high - mean, rtol=1e-3)


def test_where_the_guard_replaces_a_prediction_nothing_is_said_of_its_spread(lr):
    (mean, std, low, high), told = guarded_statistics(Checkered(2), lr, WANTED, count=8, guard="fallback", **SIZE)
    assert "is interpolated instead" in told[-1]
    plain = Checkered(2).predict(lr[None])[0]
    replaced = mean != plain
    assert replaced[:, :, :16].all()
    assert np.isnan(std[replaced]).all()
    assert (low[~replaced] < mean[~replaced]).all()
    assert np.isnan(high[replaced]).all()


def test_a_model_without_samples_has_no_deviation(lr):
    (mean, std, low, _), _ = guarded_statistics(Bicubic(2), lr, WANTED, count=4, guard="off", **SIZE)
    assert not std.any()
    np.testing.assert_array_equal(low, mean)


def test_without_a_count_there_is_the_prediction_alone(lr):
    (mean,), _ = guarded_statistics(Bicubic(2), lr, WANTED[:1], count=None, guard="off", **SIZE)
    np.testing.assert_array_equal(mean, Bicubic(2).predict(lr[None])[0])
    with pytest.raises(ParamsError, match="Got 1 sample, expected at least 2"):
        guarded_statistics(Bicubic(2), lr, WANTED, count=1, guard="off", **SIZE)


@pytest.mark.parametrize(("text", "label"), [("mean", "mean"), ("std", "std"), ("q0.05", "q05"), ("q.975", "q97.5")])
def test_statistics_have_names(text, label):
    assert Statistic.parse(text).label == label


@pytest.mark.parametrize("text", ["median", "q1.5", "q0.0", "q0.99999999999999999999", "0.5", "qq"])
def test_what_is_no_statistic_is_refused(text):
    with pytest.raises(ParamsError, match=r"Got the (statistic|quantile)"):
        Statistic.parse(text)
