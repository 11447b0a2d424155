import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.errors import DataError
from hsipipe.viewer.components import compress, fine_step


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(1e-3, 1e4), st.floats(0, 1))
def test_the_error_is_as_measured_and_that_of_the_quantisation(bands, size, seed, scale, noise):
    random = np.random.default_rng(seed)
    cube = scale * (
        random.random((bands, 1, 1)) * random.random((size, size)) + noise * random.random((bands, size, size))
    )
    cube = cube.astype(np.float32)
    step = fine_step(cube)
    parts = compress(cube, step)
    apart = np.abs(parts.cube() - cube)
    assert apart.max() == pytest.approx(parts.max_error, rel=1e-2, abs=1e-6 * scale)
    # Half a step of the quantisation, and as much of the components that are dropped.
    assert parts.rms_error <= 0.45 * step + 1e-6 * scale
    assert len(parts.basis) <= bands
    np.testing.assert_allclose(parts.basis @ parts.basis.T, np.eye(len(parts.basis)), atol=1e-4)


def test_few_spectra_need_few_components():
    random = np.random.default_rng(0)
    cube = np.einsum("bk,kyx->byx", random.random((40, 3)), random.random((3, 20, 20))).astype(np.float32)
    assert len(compress(cube, fine_step(cube)).basis) == 3


def test_a_pixel_without_a_value_has_none_again():
    cube = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    cube[2, 1, 3] = np.nan
    back = compress(cube, fine_step(cube)).cube()
    assert np.isnan(back).all(axis=0).sum() == np.isnan(back[:, 1, 3]).all() == 1


def test_a_single_glint_does_not_coarsen_the_rest():
    cube = np.random.default_rng(0).random((8, 20, 20)).astype(np.float32)
    step = fine_step(cube)
    cube[:, 3, 3] = 500
    parts = compress(cube, fine_step(cube))
    assert parts.step == pytest.approx(step, rel=0.05)
    np.testing.assert_allclose(parts.cube()[:, 3, 3], 500, rtol=1e-4)
    assert parts.max_error < 4 * step


def test_a_cube_without_values_is_refused():
    with pytest.raises(DataError, match="No pixel has a value"):
        compress(np.full((2, 3, 3), np.nan, np.float32), 1.0)
    with pytest.raises(DataError, match="must be positive"):
        compress(np.zeros((2, 3, 3), np.float32), 0.0)


def test_a_constant_cube_is_kept():
    cube = np.full((3, 4, 4), 7, np.float32)
    np.testing.assert_allclose(compress(cube, fine_step(cube)).cube(), 7)
