import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.degradation.srf import SRFS, apply_response, band_names, response
from hsipipe.errors import DataError, UnknownNameError

NM = np.arange(400.0, 1001.0, 10.0)


@pytest.mark.parametrize("name", sorted(SRFS))
def test_centre_and_width_are_the_published_ones(name):
    nm = np.arange(300.0, 1301.0, 1.0)
    matrix = response(name, nm)
    for row, band in zip(matrix, SRFS[name], strict=True):
        assert row @ nm == pytest.approx(band.centre_nm, abs=0.5)
        above = nm[row >= row.max() / 2]
        assert above[-1] - above[0] == pytest.approx(band.fwhm_nm, abs=2)


@given(
    name=st.sampled_from(sorted(SRFS)),
    inner=st.lists(st.floats(380, 1100), max_size=40),
)
def test_rows_sum_to_one_and_are_not_negative(name, inner):
    nm = np.array([380.0, *inner, 1100.0])
    matrix = response(name, nm)
    assert matrix.shape == (len(band_names(name)), nm.size)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_dense_sampling_does_not_weigh_more():
    nm = np.concatenate([np.arange(400.0, 535.0, 1.0), np.arange(535.0, 701.0, 15.0)])
    green = response("rgb", nm)[1]
    assert green @ nm == pytest.approx(535, abs=3)


def test_a_constant_spectrum_stays_and_the_dtype_too():
    cube = np.full((61, 4, 5), 0.3, dtype=np.float32)
    msi = apply_response(response("sentinel2", NM), cube)
    assert msi.shape == (8, 4, 5)
    assert msi.dtype == np.float32
    np.testing.assert_allclose(msi, 0.3, rtol=1e-6)


def test_a_band_outside_names_it_and_what_fits():
    with pytest.raises(
        DataError,
        match=r"Band B6 of 'sentinel2' \(740\.5 nm.*outside .* 400 to 700 nm\. Set .*srf to rgb or nikon_d700\.",
    ):
        response("sentinel2", np.arange(400.0, 701.0, 10.0))
    with pytest.raises(DataError, match="None of the known sensors fits"):
        response("rgb", np.arange(1500.0, 2400.0, 10.0))


@pytest.mark.parametrize("nm", [[], [np.nan, 500.0]])
def test_a_cube_without_wavelengths(nm):
    with pytest.raises(DataError, match="has no wavelengths"):
        response("rgb", nm)


def test_an_unknown_sensor():
    with pytest.raises(UnknownNameError, match=r"response 'ikonoss'\. Did you mean 'ikonos'\? Known spectral"):
        response("ikonoss", NM)
