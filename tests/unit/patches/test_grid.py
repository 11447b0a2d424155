import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.patches.grid import patch_origins, starts


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
            r"The scene has 32 x 48 pixels, less than a patch of 40 x 40\. Set patches\.size to 32 or less",
        ),
        ((48, 48), 16, 32, r"patches\.stride \(32\) is larger than patches\.size \(16\)"),
        ((48, 48), 18, 16, r"patches\.size 18 is no multiple of the scale 4"),
        ((48, 48), 16, 6, r"patches\.stride 6 is no multiple"),
        ((50, 48), 16, 16, "height 50 is no multiple"),
    ],
)
def test_what_does_not_fit(shape, size, stride, message):
    with pytest.raises(DataError, match=message):
        patch_origins("The scene", shape, size=size, stride=stride, scale=4)
