"""Scores over the pixels that have data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.evaluation.masked import score_valid, scored_bands, valid_pixels
from hsipipe.evaluation.metrics import band_mse, ergas, mpsnr_db, sam_deg


def cubes(seed=0, bands=4, size=9):
    rng = np.random.default_rng(seed)
    hr = rng.random((bands, size, size), dtype=np.float32)
    return hr + rng.normal(0, 0.1, hr.shape).astype(np.float32), hr


@pytest.mark.parametrize("shape", [(9, 9), (4, 9, 9)])
def test_a_full_mask_gives_the_metrics_of_the_cube(shape):
    sr, hr = cubes()
    mse = band_mse(sr, hr)
    expected = {"mpsnr_db": mpsnr_db(mse), "sam_deg": sam_deg(sr, hr), "ergas": ergas(mse, hr, ratio=4)}
    assert score_valid(sr, hr, np.ones(shape, bool), scale=4) == expected


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.9), per_band=st.booleans())
def test_values_under_the_mask_change_nothing(seed, share, per_band):
    sr, hr = cubes(seed)
    valid = np.random.default_rng(seed).random(hr.shape if per_band else hr.shape[1:]) >= share
    valid[..., 0, 0] = True
    others = (np.where(valid, sr, np.float32(np.nan)), np.where(valid, hr, np.float32(1e9)))
    assert score_valid(*others, valid, scale=2) == score_valid(sr, hr, valid, scale=2)


def test_a_part_without_holes_is_scored_as_if_cut_out():
    sr, hr = cubes(3)
    valid = np.zeros((9, 9), bool)
    valid[2:7, 3:8] = True
    cut = (slice(None), slice(2, 7), slice(3, 8))
    inside = score_valid(sr[cut], hr[cut], np.ones((5, 5), bool), scale=2)
    assert score_valid(sr, hr, valid, scale=2) == pytest.approx(inside)


def test_a_pixel_that_lacks_a_band_does_not_count():
    _, hr = cubes()
    valid = np.ones(hr.shape, bool)
    valid[2, 4, 4] = False
    assert valid_pixels(hr, valid).shape == (4, 1, 80)


def test_masks_that_do_not_fit_are_refused():
    sr, hr = cubes()
    with pytest.raises(DataError, match="None of the 9 x 9 pixels has data in every band"):
        score_valid(sr, hr, np.zeros((9, 9), bool), scale=2)
    with pytest.raises(DataError, match=r"Got a mask of shape \(3, 3\)"):
        score_valid(sr, hr, np.ones((3, 3), bool), scale=2)


def test_constant_and_zero_bands_are_in_no_score():
    sr, hr = cubes()
    hr[1], hr[3], valid = 0, 0.5, np.ones((9, 9), bool)
    assert scored_bands(hr, valid).tolist() == [True, False, True, False]
    found, expected = score_valid(sr, hr, valid, scale=2), score_valid(sr[::2], hr[::2], valid, scale=2)
    assert (found["mpsnr_db"], found["ergas"]) == (expected["mpsnr_db"], expected["ergas"])
    assert score_valid(hr, hr, valid, scale=2)["mpsnr_db"] == pytest.approx(120)
    assert np.isnan(score_valid(sr, np.zeros_like(hr), valid, scale=2)["mpsnr_db"])
