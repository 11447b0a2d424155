import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.patches.grid import patch_origins
from hsipipe.patches.stitch import stitch


def cut(x, origins, size):
    return np.stack([x[..., top : top + size, left : left + size] for top, left in origins])


@settings(max_examples=80, deadline=None)
@given(
    scale=st.integers(1, 6),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    size=st.integers(1, 6),
    stride=st.integers(1, 6),
    dtype=st.sampled_from(["float32", "uint16"]),
    seed=st.integers(0, 99),
)
def test_stitching_undoes_cutting_bit_for_bit(scale, height, width, size, stride, dtype, seed):
    shape = (max(height, size) * scale, max(width, size) * scale)
    origins = patch_origins("s", shape, size=size * scale, stride=min(stride, size) * scale, scale=scale)
    rng = np.random.default_rng(seed)
    x = (
        rng.standard_normal((2, *shape)) * 10.0 ** rng.integers(-6, 6)
        if dtype == "float32"
        else rng.integers(0, 2**16, (2, *shape))
    ).astype(dtype)
    again = stitch(cut(x, origins, size * scale), origins, shape)
    np.testing.assert_array_equal(again, x)
    assert again.dtype == x.dtype
    # The LR patches of the same places cover the LR scene.
    low = x[:, ::scale, ::scale]
    np.testing.assert_array_equal(stitch(cut(low, origins // scale, size), origins // scale, low.shape[1:]), low)


def test_where_patches_overlap_their_mean_counts():
    patches = np.array([[[1.0, 1.0]], [[3.0, 5.0]]])
    np.testing.assert_array_equal(stitch(patches, [(0, 0), (0, 1)], (1, 3)), [[1, 2, 5]])


def test_pixels_in_no_patch_are_counted():
    with pytest.raises(DataError, match="3 of 12 pixels are in no patch"):
        stitch(np.ones((1, 2, 3, 3)), [(0, 1)], (3, 4))


@pytest.mark.parametrize("origin", [(-1, 0), (0, 2)])
def test_a_patch_outside(origin):
    with pytest.raises(DataError, match="3 x 3 pixels extends beyond the array of 3 x 4 pixels"):
        stitch(np.ones((1, 2, 3, 3)), [origin], (3, 4))


@pytest.mark.parametrize(("shape", "corners"), [((3, 3), [(0, 0)]), ((2, 1, 3, 3), [(0, 0)])])
def test_numbers_that_do_not_fit(shape, corners):
    with pytest.raises(DataError, match="N corners, got"):
        stitch(np.ones(shape), corners, (3, 3))
