import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.degradation.bicubic import downsample, resize_matrix, upsample
from hsipipe.errors import DataError


def test_weights_of_matlab_at_scale_two():
    """Interior row of imresize(.., 0.5): the cubic at odd eighths of its width."""
    row = resize_matrix(16, 8)[4]
    expected = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    np.testing.assert_allclose(row[5:13], expected, atol=1e-15)
    assert np.count_nonzero(row) == 8


def test_rows_sum_to_one_and_borders_are_symmetric():
    for n_in, n_out in ((12, 3), (3, 12), (5, 7), (1, 4), (4, 1), (200, 50)):
        matrix = resize_matrix(n_in, n_out)
        assert matrix.shape == (n_out, n_in)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-14)
        np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-13)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_blocks_equal_the_dense_products(scale):
    x = np.random.default_rng(0).random((3, 15 * scale, 22 * scale))
    rows, columns = resize_matrix(15 * scale, 15), resize_matrix(22 * scale, 22)
    np.testing.assert_allclose(downsample(x, scale), rows @ x @ columns.T, atol=1e-14)
    y = np.random.default_rng(1).random((2, 2, 15, 22))
    rows, columns = resize_matrix(15, 15 * scale), resize_matrix(22, 22 * scale)
    np.testing.assert_allclose(upsample(y, scale), rows @ y @ columns.T, atol=1e-13)


@given(
    value=st.floats(-1e3, 1e3, width=32),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    scale=st.integers(2, 8),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_a_constant_stays_that_constant(value, height, width, scale, dtype):
    x = np.full((2, height * scale, width * scale), value, dtype=dtype)
    relative = 1e-5 if dtype == np.float32 else 1e-12
    # Below the smallest normal number floats have no relative precision left.
    absolute = 10 * np.finfo(dtype).tiny
    np.testing.assert_allclose(downsample(x, scale), value, rtol=relative, atol=absolute)
    np.testing.assert_allclose(upsample(x, scale), value, rtol=relative, atol=absolute)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_dtypes_are_kept_and_integers_become_float32(dtype):
    x = np.random.default_rng(0).random((2, 8, 8)).astype(dtype)
    assert downsample(x, 4).dtype == dtype
    assert upsample(x, 4).dtype == dtype
    assert downsample((x * 100).astype(np.uint16), 4).dtype == np.float32


def test_any_leading_axes_and_strides():
    x = np.random.default_rng(0).random((2, 3, 16, 24))
    np.testing.assert_array_equal(downsample(x, 4)[1, 2], downsample(x[1, 2], 4))
    turned = x.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(downsample(turned, 4), downsample(x, 4).transpose(0, 1, 3, 2), atol=1e-15)


def test_flips_and_turns_commute_with_the_degradation():
    x = np.random.default_rng(0).random((16, 24))
    np.testing.assert_allclose(downsample(x[::-1], 4), downsample(x, 4)[::-1], atol=1e-14)
    np.testing.assert_allclose(downsample(np.rot90(x), 4), np.rot90(downsample(x, 4)), atol=1e-14)


def test_a_scale_that_does_not_divide():
    with pytest.raises(DataError, match="width of 10 pixels leaves a remainder of 2 at scale 4; crop it to 8"):
        downsample(np.zeros((8, 10)), 4)
