import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.evaluation.evidence import mean_absolute_error
from hsipipe.evaluation.metrics import sam_deg
from hsipipe.viewer.maps import angle_map, error_map


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_means_of_the_maps_are_the_metrics(bands, seed):
    random = np.random.default_rng(seed)
    cube, truth = random.random((2, bands, 7, 8)).astype(np.float32)
    assert angle_map(cube, truth).mean() == pytest.approx(sam_deg(cube, truth), rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(error_map(cube, truth), mean_absolute_error(cube, truth), rtol=2e-3)


def test_a_spectrum_of_zeros_has_no_angle():
    truth = np.ones((3, 2, 2), np.float32)
    cube = truth.copy()
    cube[:, 0, 0] = 0
    angles = angle_map(cube, truth)
    assert np.isnan(angles[0, 0])
    assert angles[1, 1] == 0
