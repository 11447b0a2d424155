"""Scores over the pixels that have data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.evaluation.metrics import band_mse, ergas, mpsnr_db, sam_deg
from hsipipe.evaluation.scoring import score
from hsipipe.sharpen.scores import score_valid, scored_bands


def cubes(seed=0, bands=4, size=9):
    rng = np.random.default_rng(seed)
    hr = rng.random((bands, size, size), dtype=np.float32)
    return hr + rng.normal(0, 0.1, hr.shape).astype(np.float32), hr


def metrics(sr, hr, valid, *, scale):
    return score_valid(sr, hr, valid, scale=scale).metrics


def test_a_full_mask_gives_the_metrics_of_the_cube():
    sr, hr = cubes()
    mse = band_mse(sr, hr)
    expected = {"mpsnr_db": mpsnr_db(mse), "sam_deg": sam_deg(sr, hr), "ergas": ergas(mse, hr, ratio=4)}
    assert metrics(sr, hr, np.ones((9, 9), bool), scale=4) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.9))
def test_values_under_the_mask_change_nothing(seed, share):
    sr, hr = cubes(seed)
    valid = np.random.default_rng(seed).random(hr.shape[1:]) >= share
    valid[0, 0] = valid[1, 1] = True
    others = (np.where(valid, sr, np.float32(np.nan)), np.where(valid, hr, np.float32(1e9)))
    assert metrics(*others, valid, scale=2) == metrics(sr, hr, valid, scale=2)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_scores_are_those_of_the_evaluation(seed):
    sr, hr = cubes(seed, size=16)
    valid = np.random.default_rng(seed).random((16, 16)) >= 0.3
    ours = metrics(sr, hr, valid, scale=2)
    assert ours == pytest.approx({key: score(sr, hr, 2, valid=valid)[key] for key in ours}, rel=1e-12)


def test_a_part_without_holes_is_scored_as_if_cut_out():
    sr, hr = cubes(3)
    valid = np.zeros((9, 9), bool)
    valid[2:7, 3:8] = True
    cut = (slice(None), slice(2, 7), slice(3, 8))
    inside = metrics(sr[cut], hr[cut], np.ones((5, 5), bool), scale=2)
    assert metrics(sr, hr, valid, scale=2) == pytest.approx(inside)


def test_no_pixel_with_data_is_refused():
    with pytest.raises(DataError, match="None of the 9 x 9 pixels has data in every band"):
        score_valid(*cubes(), np.zeros((9, 9), bool), scale=2)


def test_constant_and_zero_bands_are_in_no_score():
    sr, hr = cubes()
    hr[1], hr[3], valid = 0, 0.5, np.ones((9, 9), bool)
    assert scored_bands(hr, valid).tolist() == [True, False, True, False]
    found, expected = score_valid(sr, hr, valid, scale=2), metrics(sr[::2], hr[::2], valid, scale=2)
    assert (found.mpsnr_db, found.metrics["ergas"]) == (expected["mpsnr_db"], expected["ergas"])
    assert np.isnan(found.band_psnr_db).tolist() == [False, True, False, True]
    assert score_valid(hr, hr, valid, scale=2).mpsnr_db == pytest.approx(120)
    assert np.isnan(score_valid(sr, np.zeros_like(hr), valid, scale=2).mpsnr_db)
