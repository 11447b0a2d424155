import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.patches.grid import check_regions, patch_origins, starts


@pytest.mark.parametrize(
    ("extent", "size", "stride", "expected"),
    [(10, 4, 2, [0, 2, 4, 6]), (11, 4, 3, [0, 3, 6, 7]), (4, 4, 4, [0]), (9, 4, 4, [0, 4, 5])],
)
def test_starts(extent, size, stride, expected):
    assert starts(extent, size, stride).tolist() == expected


def test_a_window_larger_than_the_extent():
    with pytest.raises(DataError, match="window of 5 does not fit into 4"):
        starts(4, 5, 1)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.integers(1, 8),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    size=st.integers(1, 12),
    stride=st.integers(1, 12),
)
def test_every_pixel_is_covered_and_no_patch_leaves_the_scene(scale, height, width, size, stride):
    shape = (max(height, size) * scale, max(width, size) * scale)
    size, stride = size * scale, min(stride, size) * scale
    seen = np.zeros(shape, dtype=int)
    origins = patch_origins("s", shape, size=size, stride=stride, scale=scale)
    for y, x in origins:
        window = seen[y : y + size, x : x + size]
        assert window.shape == (size, size)
        window += 1
    assert seen.min() >= 1
    assert not (origins % scale).any()
    assert len(np.unique(origins, axis=0)) == len(origins)


@pytest.mark.parametrize(
    ("shape", "size", "stride", "message"),
    [
        (
            (32, 48),
            40,
            8,
            r"patch of 40 x 40 pixels does not fit into The scene \(32 x 48\)\. Set patches\.size to 32 or less",
        ),
        ((48, 48), 16, 32, r"patches\.stride \(32\) is larger than patches\.size \(16\)"),
        ((48, 48), 18, 16, r"patches\.size 18 is not a multiple of the scale 4"),
        ((48, 48), 16, 6, r"patches\.stride 6 is not a multiple"),
        ((50, 48), 16, 16, "height 50 is not a multiple"),
    ],
)
def test_what_does_not_fit(shape, size, stride, message):
    with pytest.raises(DataError, match=message):
        patch_origins("The scene", shape, size=size, stride=stride, scale=4)


def test_all_regions_that_are_too_small_are_listed_with_the_size_that_fits():
    regions = {"the train region": (72, 128), "the val region": (40, 56), "the test region": (44, 30)}
    check_regions(regions, size=28, scale=4)
    with pytest.raises(DataError) as caught:
        check_regions(regions, size=64, scale=4)
    message = str(caught.value)
    assert "64 x 64 pixels does not fit into the val region (40 x 56), the test region (44 x 30). Set" in message
    assert "Set patches.size to 28 or less (a multiple of the scale 4) and patches.stride to no more" in message


def test_a_long_list_of_regions_is_cut():
    with pytest.raises(DataError, match=r"r7 \(8 x 8\) and 12 more\. Set patches\.size to 8 or less"):
        check_regions({f"r{i}": (8, 8) for i in range(20)}, size=16, scale=4)
