"""Cubes in chunks: degraded lazily, with the result of the whole array."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hsipipe import degrade
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError

PSFS = {
    "bicubic": "bicubic",
    "average": "average",
    "wide": Psf("gaussian", sigma=9.0),
    "sparse": Psf("gaussian", sigma=1.0, size=1, phase=1),
}


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def _cube(values, chunks):
    nm = np.linspace(400, 700, len(values))
    cube = xr.DataArray(values, dims=("band", "y", "x"), coords={"wavelength_nm": ("band", nm)}, attrs={"gsd_m": 2.0})
    return cube.chunk(dict(zip(("band", "y", "x"), chunks, strict=True)))


@given(
    psf=st.sampled_from(sorted(PSFS)),
    scale=st.integers(2, 4),
    size=st.tuples(st.integers(1, 4), st.integers(1, 60), st.integers(1, 9)),
    chunks=st.tuples(st.integers(1, 5), st.integers(1, 250), st.integers(1, 50)),
    snr_db=st.none() | st.just(20.0),
)
def test_any_chunks_give_the_result_of_the_whole(psf, scale, size, chunks, snr_db):
    values = np.random.default_rng(0).random((size[0], size[1] * scale, size[2] * scale), dtype=np.float32)
    lazy = degrade(_cube(values, chunks), scale, psf=PSFS[psf], snr_db=snr_db, seed=3)
    assert lazy.chunks is not None
    whole = degrade(values, scale, psf=PSFS[psf], snr_db=snr_db, seed=3)
    assert lazy.dtype == whole.dtype
    assert lazy.shape == whole.shape
    computed = lazy.compute()
    assert computed.dtype == whole.dtype
    np.testing.assert_allclose(computed, whole, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_every_dtype_and_rank(dtype):
    values = (np.random.default_rng(0).random((2, 3, 40, 12)) * 100).astype(dtype)
    for cube in (values, values[0], values[0, 0]):
        for options in ({}, {"snr_db": 30.0}):
            lazy = degrade(da.from_array(cube, chunks=7), 4, **options)
            assert isinstance(lazy, da.Array)
            whole = degrade(cube, 4, **options)
            assert lazy.dtype == whole.dtype
            np.testing.assert_allclose(lazy.compute(), whole, rtol=2e-3 if dtype == np.float16 else 1e-5)


def test_labels_are_those_of_the_cube_in_memory():
    cube = _cube(np.random.default_rng(0).random((3, 64, 16)), (1, 20, 16))
    lazy = degrade(cube.transpose("y", "x", "band"), 4)
    assert lazy.dims == ("y", "x", "band")
    xr.testing.assert_allclose(lazy.compute(), degrade(cube.compute(), 4).transpose("y", "x", "band"))
    assert lazy.attrs == {"gsd_m": 8.0}


def test_a_strip_reads_its_rows_and_a_few_around_them():
    """Of a tall scene, one LR row needs little: the rest is neither read nor computed."""
    seen = []

    def chunk(block_info=None):
        place = block_info[None]["array-location"]
        seen.append(place[1])
        return np.ones([stop - start for start, stop in place])

    tall = da.map_blocks(chunk, chunks=((2,), (64,) * 100, (32,)), dtype=np.float64, meta=np.empty((0, 0, 0)))
    low = degrade(tall, 4)
    assert low.shape == (2, 1600, 8)
    assert not seen
    np.testing.assert_allclose(low[:, 800:816].compute(), 1)
    assert sorted(seen) == [(start, start + 64) for start in (3136, 3200, 3264)]


def test_values_that_are_not_finite_are_found_when_they_are_computed():
    values = np.ones((5, 128, 16), dtype=np.float32)
    values[3, 90, 5] = np.nan
    low = degrade(_cube(values, (2, 32, 8)), 4)
    with pytest.raises(DataError, match=r"NaN or infinite values in band 4 \(625 nm\), which"):
        low.compute()
    np.testing.assert_allclose(low[:2].compute(), 1, rtol=1e-6)
    with pytest.raises(DataError, match="NaN or infinite values in it, which"):
        degrade(da.from_array(values[3], chunks=16), 4).compute()


def test_bad_cubes_are_refused_at_once():
    with pytest.raises(DataError, match="width of 10 pixels leaves a remainder of 2 at scale 4"):
        degrade(da.zeros((8, 10)), 4)
    with pytest.raises(DataError, match="real numbers, got complex128"):
        degrade(da.zeros((8, 8), dtype=complex), 4)
    with pytest.raises(DataError, match="at least the axes y and x"):
        degrade(da.zeros(8), 4)
