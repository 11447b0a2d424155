"""Regions of a scene: disjoint, apart, like the whole, and none too small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.sharpen.regions import WIDEST_GAP, can_fit, plan_regions


def plan(height, width, scale=2, error=None, valid=None):
    error = np.ones((3, height, width), np.float32) if error is None else error
    valid = np.ones((height, width), bool) if valid is None else valid
    return plan_regions(error, valid, scale=scale)


def boxes(regions):
    return [box for box in (regions.fit, regions.choose, regions.judge) if box is not None]


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(4, 90), columns=st.integers(4, 90), scale=st.sampled_from([2, 3, 4, 8]), seed=st.integers(0, 9))
def test_regions_are_disjoint_whole_lr_pixels_and_apart(rows, columns, scale, seed):
    height, width = rows * scale, columns * scale
    error = np.random.default_rng(seed).random((2, height, width), dtype=np.float32)
    regions = plan(height, width, scale, error)
    assert (regions.fit is not None) == can_fit(height, width, scale=scale)
    found = boxes(regions)
    for box in found:
        assert all(edge % scale == 0 for edge in box)
        assert 0 <= box.y0 < box.y1 <= height
        assert 0 <= box.x0 < box.x1 <= width
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            apart = max(one.y0 - other.y1, other.y0 - one.y1, one.x0 - other.x1, other.x0 - one.x1)
            assert apart >= regions.gap >= 0
    across = width if found[0].y1 - found[0].y0 < height else height
    assert sum(box.pixels for box in found) == height * width - (len(found) - 1) * regions.gap * across


def test_a_large_scene_has_the_widest_gap():
    assert plan(200, 160).gap == WIDEST_GAP * 2
    assert plan(20, 12).gap == 0


def test_the_regions_that_are_like_the_whole_are_taken():
    # Detail along one side only: strips across it would be all detail, or none.
    error = np.full((2, 80, 80), 1e-6, np.float32)
    error[:, :, 60:] = 1.0
    assert (plan(80, 80, error=error).judge.x0, plan(80, 80, error=error).judge.x1) == (0, 80)
    turned = plan(80, 80, error=error.swapaxes(1, 2))
    assert (turned.judge.y0, turned.judge.y1) == (0, 80)


def test_regions_avoid_the_part_without_data():
    valid = np.ones((80, 80), bool)
    valid[:40] = False
    regions = plan(80, 80, valid=valid)
    assert min(valid[box.slices()[1:]].mean() for box in boxes(regions)) >= 0.25


def test_too_little_data_is_refused():
    valid = np.zeros((80, 80), bool)
    valid[:8] = True
    valid[:, :4] = True
    with pytest.raises(DataError, match=r"Only 14% of the pixels have data in every band, .*--masks fill"):
        plan(80, 80, valid=valid)


def test_a_scene_that_is_too_small_says_how_many_pixels_are_needed():
    with pytest.raises(DataError, match=r"28 x 200 pixels is too small at scale 8: at least 32 x 32 are"):
        plan(28, 200, scale=8)
    assert plan(32, 32, scale=8).fit is None
    assert plan(80, 80, scale=8).fit is not None
