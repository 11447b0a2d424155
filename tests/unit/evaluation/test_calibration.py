import math

import numpy as np
import pytest

from hsipipe.evaluation.calibration import (
    EDGES,
    SUMS_SHAPE,
    UNCERTAINTY_DEFINITIONS,
    calibration_sums,
    curve,
    sentence,
    summary,
)
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.spread_figures import calibration, spread_maps
from hsipipe.protocols import Protocol
from hsipipe.protocols.metrics import METRICS

SHAPE = (5, 60, 70)


@pytest.fixture
def sigma():
    """True standard deviations over two decades."""
    return 10 ** np.random.default_rng(0).uniform(-3, -1, SHAPE)


def sums_of(predicted, error):
    return calibration_sums(predicted, error, np.zeros(SHAPE))


@pytest.mark.parametrize("samples", [2, 5, 20])
def test_samples_of_the_distribution_of_the_truth_are_calibrated(sigma, samples):
    """The factor sqrt(1 + 1/K) is the error of the mean itself; without it few samples look too sure."""
    rng = np.random.default_rng(samples)
    draws = rng.normal(size=(samples, *SHAPE)) * sigma
    truth = rng.normal(size=SHAPE) * sigma
    predicted = draws.std(axis=0, ddof=1) * np.sqrt(1 + 1 / samples)
    numbers = summary(calibration_sums(predicted, draws.mean(axis=0), truth), samples=samples)
    assert numbers["spread_ratio"] == pytest.approx(1, abs=0.03)
    assert numbers["samples"] == samples


def test_a_known_spread_lies_on_the_identity(sigma):
    error = np.random.default_rng(1).normal(size=SHAPE) * sigma
    predicted, observed, share = curve(sums_of(sigma, error), least_share=0.01)
    np.testing.assert_allclose(observed, predicted, rtol=0.15)
    assert share.sum() == pytest.approx(1, abs=0.02)
    numbers = summary(sums_of(sigma, error), samples=2)
    assert numbers["calibration_error"] < 0.05 * np.sqrt(np.mean(error**2))
    assert numbers["spread_error_cc"] == pytest.approx(np.corrcoef(sigma.ravel(), np.abs(error).ravel())[0, 1])


def test_half_the_spread_is_twice_too_sure(sigma):
    error = np.random.default_rng(1).normal(size=SHAPE) * sigma
    numbers = summary(sums_of(sigma / 2, error), samples=2)
    assert numbers["spread_ratio"] == pytest.approx(0.5, rel=0.05)
    exact = np.mean(np.sqrt(np.mean(error**2)) - sigma / 2)
    assert 0 < numbers["calibration_error"] < exact


def test_sums_of_scenes_add_up_to_those_of_all_values(sigma):
    error = np.random.default_rng(1).normal(size=SHAPE) * sigma
    halves = [calibration_sums(sigma[part], error[part], np.zeros_like(sigma[part])) for part in (np.s_[:2], np.s_[2:])]
    np.testing.assert_allclose(sum(halves), sums_of(sigma, error), rtol=1e-12)
    assert halves[0].shape == SUMS_SHAPE


def test_every_spread_has_a_bin():
    sums = sums_of(np.resize([0.0, 1e-9, EDGES[5], 1.0, 7.0], SHAPE), np.ones(SHAPE))
    assert sums[0].sum() == math.prod(SHAPE)
    assert sums[0, 0] == 2 * sums[0, 5] == 2 * math.prod(SHAPE) / 5


def test_without_any_spread_or_error_nothing_is_divided_by_zero():
    numbers = summary(sums_of(np.zeros(SHAPE), np.zeros(SHAPE)), samples=3)
    assert set(numbers) == set(UNCERTAINTY_DEFINITIONS)
    assert math.isnan(numbers["spread_error_cc"])
    assert math.isnan(numbers["spread_ratio"])
    assert numbers["calibration_error"] == 0


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        (0.25, "too small: the model is surer than it should be. The errors are 4 times those predicted"),
        (2.0, "too large. The errors are 0.5 times those predicted"),
        (1.05, "about as large as the spread predicts (0.95 times"),
        (0.0, "samples do not differ"),
        (None, "no error to compare"),
    ],
)
def test_the_ratio_in_words(ratio, says):
    assert says in sentence({"spread_ratio": ratio})


def test_the_uncertainty_of_a_method_with_samples_is_recorded(scored, net, names, sampling):
    folder, tree = scored(net(varied=True))
    scenes = [SceneEvidence.load(folder / f"{name}.npz") for name in names]
    assert all(scene.spread_rows.tolist() == [0] for scene in scenes)
    assert scenes[0].width.shape == (1, 48, 48)
    assert scenes[0].samples.shape == (1, 3, 12, 12, 3)
    pooled = sum(scene.calibration[0] for scene in scenes)
    uncertainty = tree["uncertainty"]
    assert summary(pooled, samples=sampling.ensemble).items() <= uncertainty.items()
    assert pooled[0].sum() == 2 * 13 * 48 * 48
    assert sum(uncertainty["ranks"]) == pytest.approx(1)
    assert (len(uncertainty["ranks"]), len(uncertainty["coverage_by_texture"])) == (sampling.ensemble + 1, 10)
    assert (uncertainty["sample_nfe"], uncertainty["interval_scale"]) == (10, 2.0)
    assert np.mean(uncertainty["coverage_by_texture"]) == pytest.approx(
        np.mean([rows["dmgasr"]["coverage_90"] for rows in tree["scenes"].values()]), abs=0.1
    )


def test_the_uncertainty_is_taken_into_the_table(scored, net, all_scores):
    rows = [RowScores("bicubic", [all_scores["bicubic"][1]]), RowScores("dmgasr", [scored(net(varied=True))[1]])]
    assert list(compare_scores(rows)["uncertainty"]) == ["dmgasr"]


def test_a_method_of_one_sample_leaves_no_trace(all_scores, names):
    folder, tree = all_scores["dmgasr"]
    assert "uncertainty" not in tree
    scene = SceneEvidence.load(folder / f"{names[0]}.npz")
    assert scene.width.shape == (0, 48, 48)
    assert scene.calibration.shape == (0, *SUMS_SHAPE)


def test_samples_do_not_change_the_numbers_of_the_prediction(scored, net):
    def numbers(method):
        scenes = scored(method)[1]["scenes"]
        of_prediction = [metric.key for metric in METRICS if not metric.of_samples and not metric.of_pair]
        kept = {name: {key: rows["dmgasr"][key] for key in of_prediction} for name, rows in scenes.items()}
        return {name: {**rows, "seconds_per_image": 0} for name, rows in kept.items()}

    assert numbers(net(varied=True)) == numbers(net())


def test_uncertainty_is_no_part_of_the_protocol(protocol: Protocol):
    """How a prediction is made may differ between results that are compared."""
    assert not [key for key in protocol.fields() if "sampl" in key or "spread" in key or "calibration" in key]


def test_the_curve_is_drawn_with_the_identity(sigma):
    sums = sums_of(sigma, np.random.default_rng(1).normal(size=SHAPE) * sigma)
    top, bottom = calibration(2 * sums, {"a": sums, "b": sums}).axes
    labels = [line.get_label() for line in top.lines]
    assert labels == ["each test scene", "_", "all test scenes", "calibrated: error as predicted"]
    ends = top.lines[-1].get_xydata()
    np.testing.assert_array_equal(ends[:, 0], ends[:, 1])
    assert sum(patch.get_height() for patch in bottom.patches) == pytest.approx(100, abs=1)


def test_values_without_spread_beside_others_are_drawn_without_a_warning(sigma):
    sums = sums_of(np.where(np.arange(70) < 20, 0, sigma), sigma)
    calibration(sums, {"a": sums}).canvas.draw()


def test_a_spread_of_nothing_is_drawn_without_a_warning(scored, net, names, monkeypatch):
    monkeypatch.setattr(type(net()), "draw", lambda self, lr, count, **_: iter([self.predict(lr)] * count))
    folder, _ = scored(net(varied=True))
    scene = SceneEvidence.load(folder / f"{names[0]}.npz")
    for figure in (spread_maps(scene, 0), calibration(scene.calibration[0], {"a": scene.calibration[0]})):
        figure.canvas.draw()
