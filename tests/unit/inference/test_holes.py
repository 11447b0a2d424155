"""No data in, no data out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hsipipe.errors import DataError
from hsipipe.formats.base import make_cube
from hsipipe.inference.holes import fill_holes, joined, open_holes
from hsipipe.inference.inputs import prepare
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.bicubic import Bicubic


def image(seed=0, shape=(3, 6, 8)):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_an_image_without_holes_is_not_copied():
    lr = image()
    filled, holes = fill_holes(lr, "scene")
    assert filled is lr
    assert holes is None


@given(hnp.arrays(bool, (6, 8)).filter(lambda holes: holes.any() and not holes.all()))
def test_holes_get_the_spectrum_of_a_pixel_with_data_and_the_others_stay(holes):
    lr = image()
    given = lr.copy()
    given[1, holes] = np.nan  # one band is enough
    filled, found = fill_holes(given, "scene")
    np.testing.assert_array_equal(found, holes)
    np.testing.assert_array_equal(filled[:, ~holes], lr[:, ~holes])
    known = {tuple(spectrum) for spectrum in lr[:, ~holes].T}
    assert {tuple(spectrum) for spectrum in filled[:, holes].T} <= known


def test_a_border_without_data_is_one_in_the_result():
    lr = image()
    lr[:, :, :2] = np.nan
    given = prepare(Bicubic(2), make_cube(lr), name="scene", full_scale=1.0)
    assert given.notes == ("25.0% of the image has no data, and has none in the result.",)
    result = given.wrap(predict_scene(given.model, given.lr, tile=64, overlap=8)).to_numpy()
    assert np.isnan(result[:, :, :4]).all()
    assert np.isfinite(result[:, :, 4:]).all()


@given(st.booleans(), st.booleans())
def test_holes_of_both_images_are_holes_of_the_result(first, second):
    low = np.eye(2, dtype=bool) if first else None
    high = np.eye(4, dtype=bool)[::-1] if second else None
    holes = joined(low, high, scale=2)
    opened = open_holes(np.zeros((1, 4, 4), np.float32), holes)
    expected = np.zeros((4, 4), bool)
    expected |= np.kron(np.eye(2, dtype=bool), np.ones((2, 2), bool)) if first else False
    expected |= np.eye(4, dtype=bool)[::-1] if second else False
    np.testing.assert_array_equal(np.isnan(opened[0]), expected)


def test_a_band_without_data_is_named():
    lr = image()
    lr[1] = np.nan
    with pytest.raises(DataError, match=r"^scene has no data in band 2"):
        fill_holes(lr, "scene")


def test_an_image_without_data_is_refused():
    with pytest.raises(DataError, match="no pixel with data in every band"):
        fill_holes(np.full((2, 3, 3), np.nan, np.float32), "scene")


def test_infinite_values_are_not_taken_for_holes():
    lr = image()
    lr[0, 0, 0] = np.inf
    assert fill_holes(lr, "scene")[1] is None
