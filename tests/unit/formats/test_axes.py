import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsipipe.formats.axes import band_axis, clear_band_axis


@pytest.mark.parametrize(
    ("shape", "known", "axis"),
    [
        ((83, 86, 204), {}, 2),
        ((100, 100, 64), {}, 2),
        ((64, 100, 100), {}, 0),
        ((100, 100, 100), {}, 2),
        ((102, 1096, 715), {}, 0),
        ((610, 340, 103), {}, 2),
        ((31, 512, 482), {"counts": [31]}, 0),
        ((512, 31, 482), {"counts": [31]}, 1),
        ((9, 9, 6), {"counts": [9]}, 0),
        ((6, 9, 9), {"counts": [9]}, 2),
        ((31, 64, 31), {"counts": [31]}, 2),
        ((31, 64, 48), {"counts": [7, 31]}, 0),
        ((31, 64, 48), {"images": [(5, 5), (64, 48)]}, 0),
        ((31, 64, 48), {"images": [(31, 64)]}, 2),
        ((64, 64, 64), {"images": [(64, 64)]}, 2),
        ((31, 64, 48), {"counts": [48], "images": [(64, 48)]}, 2),
        ((31, 64, 48), {"images": [(31, 48)]}, 1),
        ((1000, 66, 1000), {}, 1),
        ((1000, 66, 700), {}, 1),
    ],
)
def test_the_axis_of_the_bands(shape, known, axis):
    assert band_axis(np.zeros(shape, dtype=bool), **known) == axis


@pytest.mark.parametrize("shape", [(40, 60, 50), (60, 50, 40), (200, 30, 90), (90, 30, 200)])
@pytest.mark.parametrize("smooth", [0, 1, 2])
def test_without_any_hint_the_axis_along_which_slices_are_alike(shape, smooth):
    noise = np.random.default_rng(0).random(shape)
    width = [1.0, 1.0, 1.0]
    width[smooth] = 8.0
    assert band_axis(gaussian_filter(noise, width)) == smooth
    assert clear_band_axis(gaussian_filter(noise, width)) == smooth


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 80, 120), 0), ((80, 120, 5), 2), ((80, 5, 120), 1), ((3, 4, 80), None), ((3, 4, 5), 2)]
)
def test_an_image_has_at_least_eight_rows_and_columns(shape, axis):
    assert clear_band_axis(np.random.default_rng(0).random(shape)) == axis


@pytest.mark.parametrize("shape", [(120, 66, 1000), (66, 120, 1000)])
def test_two_axes_that_may_hold_the_bands_are_told_apart_by_their_values(shape):
    noise = np.random.default_rng(0).random(shape)
    width = [8.0 if side == 66 else 0.0 for side in shape]
    assert clear_band_axis(gaussian_filter(noise, width)) == shape.index(66)
    assert clear_band_axis(noise) is None


@pytest.mark.parametrize("shape", [(40, 60, 31), (60, 40, 31), (90, 30, 12)])
def test_rows_and_columns_of_a_smooth_image_are_not_taken_for_bands(shape):
    noise = np.random.default_rng(0).random(shape)
    smooth = gaussian_filter(noise, [8.0, 8.0, 1.0])
    assert band_axis(smooth) == clear_band_axis(smooth) == 2


@pytest.mark.parametrize("axis", [0, 1])
def test_a_smooth_image_whose_bands_are_not_the_last_axis_is_in_doubt(axis):
    width = [8.0, 8.0, 8.0]
    width[axis] = 1.0
    assert clear_band_axis(gaussian_filter(np.random.default_rng(0).random((40, 60, 50)), width)) is None


def test_noise_is_in_doubt():
    for seed in range(20):
        assert clear_band_axis(np.random.default_rng(seed).random((20, 30, 25))) is None


def test_slices_without_variation_tell_nothing():
    assert clear_band_axis(np.zeros((30, 40, 50))) is None
    assert band_axis(np.zeros((30, 40, 50))) == 2
    assert band_axis(np.full((30, 40, 50), np.nan)) == 2
    assert band_axis(np.random.default_rng(0).random((30, 40, 50))) == 2
