"""Statistics of the values of a result."""

import json
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hsipipe.inference.values_found import ValuesFound

VALUES = arrays(np.float32, (2, 6), elements=st.sampled_from(np.float32([-2.5, 0, 0.1, 7, np.nan, np.inf])))


@given(VALUES, st.integers(0, 6))
def test_parts_give_the_statistics_of_the_whole(image, cut):
    finite = image[np.isfinite(image)].astype(np.float64)
    parts = [ValuesFound.of(image[:, :cut]), ValuesFound.of(image[:, cut:])]
    for order in (parts, parts[::-1]):
        found = ValuesFound.joined(order)
        assert (found.finite, found.count) == (finite.size, image.size)
        assert found.missing_share == pytest.approx(1 - finite.size / image.size)
        if finite.size:
            assert (found.low, found.high) == (finite.min(), finite.max())
            assert found.mean == pytest.approx(finite.mean())
        else:
            assert (found.low, found.high, found.mean) == (None, None, None)


def test_they_are_kept_as_json():
    found = ValuesFound.of(np.full((1, 2, 2), np.nan, np.float32))
    assert ValuesFound(**json.loads(json.dumps(found.as_json(), allow_nan=False))) == found
    assert astuple(found) == (None, None, 0.0, 0, 4)
