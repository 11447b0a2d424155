"""The metrics of samples against definitions that are written out, and against what is known of perfect samples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from hsipipe.degradation.psf import BICUBIC
from hsipipe.evaluation.ensemble import (
    Ensemble,
    SpectralFrame,
    block_max_crps,
    bright_area_crps,
    coverage_90,
    coverage_by_band,
    coverage_by_texture,
    crps,
    energy_score,
    psd_error,
    rank_histogram,
    sample_consistency_db,
    spread_skill,
)
from hsipipe.evaluation.power_spectra import radial_power
from hsipipe.methods.samples import interval_factor

SHAPE = (3, 40, 32)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def normal(rng):
    """Truth and eight samples of the same normal distribution around a smooth image, and the image."""
    mean = np.linspace(0.2, 0.8, 40)[None, :, None] * np.ones(SHAPE)
    draw = [mean + 0.05 * rng.normal(size=SHAPE) for _ in range(9)]
    return draw[0], draw[1:], mean


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_the_crps_is_that_of_all_pairs(count, seed):
    rng = np.random.default_rng(seed)
    samples, truth = rng.normal(size=(count, 2, 3, 4)), rng.normal(size=(2, 3, 4))
    expected = np.mean([np.abs(sample - truth).mean() for sample in samples])
    if count > 1:
        pairs = [np.abs(a - b).mean() for a in samples for b in samples]
        expected -= np.sum(pairs) / (2 * count * (count - 1))
    assert crps(list(samples), truth) == pytest.approx(expected, abs=1e-12)


def test_perfect_samples_have_the_scores_that_follow_from_the_normal_distribution(normal):
    truth, samples, mean = normal
    error = np.abs(mean - truth).mean()
    assert error == pytest.approx(0.05 * math.sqrt(2 / math.pi), rel=0.03)
    assert crps(samples, truth) == pytest.approx(error / math.sqrt(2), rel=0.03)
    assert spread_skill(samples, truth) == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(rank_histogram(samples, truth), 1 / 9, atol=0.015)


def test_ties_share_the_ranks():
    truth = np.zeros((1, 1, 2))
    samples = [np.array([[[-1.0, 0.0]]]), np.array([[[1.0, 0.0]]])]
    np.testing.assert_allclose(rank_histogram(samples, truth), [1 / 6, 1 / 2 + 1 / 6, 1 / 6])


def test_the_interval_of_few_samples_holds_its_share(normal):
    truth, samples, mean = normal
    drawn = [sample.astype(np.float32) for sample in samples]
    for around_mean in (True, False):
        for count in (3, 8):
            how = {"around_mean": around_mean, "interval_scale": 1.0, "limits": (-9.0, 9.0)}
            ensemble = Ensemble.of([sample.copy() for sample in drawn[:count]], mean.astype(np.float32), **how)
            covered = coverage_90(ensemble.centre, ensemble.half_width(), truth)
            assert covered == pytest.approx(90, abs=1.5), (around_mean, count)
            assert coverage_90(ensemble.centre, ensemble.half_width(0.5), truth) == pytest.approx(50, abs=2.5)
            by_texture = coverage_by_texture(ensemble.centre, ensemble.half_width(), truth)
            assert by_texture.mean() == pytest.approx(covered, abs=0.2)
            by_band = coverage_by_band(ensemble.centre, ensemble.half_width(), truth)
            assert by_band.mean() == pytest.approx(covered)
    assert interval_factor(8, around_mean=True) == pytest.approx(student.ppf(0.95, 7) * math.sqrt(9 / 8))
    assert interval_factor(8, around_mean=False) == pytest.approx(student.ppf(0.95, 7))


def test_coverage_finds_where_it_is_too_small(rng):
    """Flat below, rough above: intervals of the mean error hold too much of the one and too little of the other."""
    scale = np.where(np.arange(40) < 20, 0.01, 0.1)[None, :, None] * np.ones(SHAPE)
    truth = scale * rng.normal(size=SHAPE)
    by_texture = coverage_by_texture(np.zeros(SHAPE), np.full(SHAPE, 0.08), truth)
    assert by_texture[0] == 100
    assert by_texture[-1] < 70


def test_a_prediction_alone_has_no_interval():
    ensemble = Ensemble.point(np.ones(SHAPE))
    assert (ensemble.varies, ensemble.half_width().any()) == (False, False)


def test_the_energy_score_wants_the_right_neighbours(rng):
    """Samples with the right spread of each value, alone, and in step with their neighbours as the truth is."""
    frame = SpectralFrame(np.eye(3), np.ones(3))

    def blocks():
        return np.repeat(np.repeat(rng.normal(size=(3, 5, 4)), 8, axis=1), 8, axis=2)

    truths = [blocks() for _ in range(20)]
    together = np.mean([energy_score([blocks() for _ in range(8)], truth, frame) for truth in truths])
    alone = np.mean([energy_score([rng.normal(size=SHAPE) for _ in range(8)], truth, frame) for truth in truths])
    assert together < 0.95 * alone


def test_the_energy_score_by_hand():
    frame = SpectralFrame(np.array([[1.0, 0.0]]), np.array([2.0]))
    truth, sample = np.zeros((2, 8, 8)), np.ones((2, 8, 8))
    assert energy_score([sample], truth, frame) == pytest.approx(4)  # the norm of 64 values of 1/2
    assert energy_score([sample, -sample], truth, frame) == pytest.approx(4 - 8 / 2)


def test_the_power_of_a_wave_lies_at_its_frequency():
    wave = np.sin(2 * np.pi * 0.2 * np.arange(60))[None] * np.ones((60, 1))
    frequency, power = radial_power(wave)
    assert frequency[power.argmax()] == pytest.approx(0.2, abs=0.02)


def test_the_psd_error_tells_blur_from_noise_of_the_right_power(rng):
    truth = rng.normal(size=(2, 64, 64))
    blurred = BICUBIC.downsample(truth, 4).repeat(4, axis=1).repeat(4, axis=2)
    other = rng.normal(size=(2, 64, 64))
    assert psd_error([other], truth, 4) < 0.2 < psd_error([blurred], truth, 4)
    assert psd_error([truth * 10], truth, 4) == pytest.approx(2)


def test_the_consistency_is_that_of_the_worst_sample(rng):
    hr = rng.random((2, 32, 32)).astype(np.float32)
    lr = BICUBIC.downsample(hr, 4)
    value = sample_consistency_db([hr, hr + np.float32(0.1)], lr, BICUBIC, 4)
    assert value == pytest.approx(20, abs=0.1)


def test_functionals_of_a_block(rng):
    truth = np.zeros((2, 16, 16))
    truth[:, 3, 3] = 1
    smooth, sharp = np.full((2, 16, 16), 1 / 256), np.roll(truth, 2, axis=2)
    assert block_max_crps([sharp], truth) == 0  # the maximum of its block is right wherever it lies
    assert block_max_crps([smooth], truth) == pytest.approx((1 - 1 / 256 + 3 / 256) / 4)
    lr = np.linspace(0, 0.5, 32).reshape(2, 4, 4)
    assert bright_area_crps([smooth], truth, lr) == pytest.approx(1 / 64 / 4)
    assert bright_area_crps([sharp], truth, lr) == 0
