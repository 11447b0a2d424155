import numpy as np
import pytest
import xarray as xr

from hsipipe import degrade
from hsipipe.degradation.api import check_scale
from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.noise import add_noise
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError, ParamsError


@pytest.fixture
def cube():
    values = np.random.default_rng(0).random((3, 16, 24), dtype=np.float32)
    coords = {
        "wavelength_nm": ("band", [500.0, 600.0, 700.0]),
        "y": 100.0 - 2.0 * np.arange(16),
        "x": 10.0 + 2.0 * np.arange(24),
        "spatial_ref": xr.Variable((), 0, {"crs_wkt": "x", "GeoTransform": "9 2 0 101 0 -2"}),
    }
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs={"units": "1", "gsd_m": 2.0}, name="r")


def test_labelled_in_labelled_out(cube):
    low = degrade(cube, scale=4)
    assert isinstance(low, xr.DataArray)
    assert low.dims == ("band", "y", "x")
    assert low.dtype == np.float32
    assert low.name == "r"
    np.testing.assert_array_equal(low, downsample(cube.values, 4))
    np.testing.assert_array_equal(low["wavelength_nm"], cube["wavelength_nm"])
    np.testing.assert_allclose(low["y"], [97.0, 89.0, 81.0, 73.0])
    np.testing.assert_allclose(low["x"][:2], [13.0, 21.0])
    assert low.attrs == {"units": "1", "gsd_m": 8.0}
    assert low["spatial_ref"].attrs == {"crs_wkt": "x", "GeoTransform": "9.0 8.0 0.0 101.0 0.0 -8.0"}
    assert cube["spatial_ref"].attrs["GeoTransform"] == "9 2 0 101 0 -2"


def test_order_of_dims_and_lazy_values(cube):
    turned = degrade(cube.transpose("y", "x", "band").chunk({"y": 5}), 2)
    assert turned.dims == ("y", "x", "band")
    np.testing.assert_allclose(turned.transpose("band", "y", "x"), downsample(cube.values, 2), atol=1e-6)


def test_array_in_array_out(cube):
    low = degrade(cube.values)
    assert isinstance(low, np.ndarray)
    assert low.shape == (3, 4, 6)


@pytest.mark.parametrize(
    "scale", [0, 0.5, -4, 2.5, True, np.True_, "abc", "4", None, np.nan, np.inf, -np.inf, np.float32(np.inf), [4], 4j]
)
def test_bad_scales(cube, scale):
    with pytest.raises(DataError, match=r"scale must be a whole number of 1 or more, .*, got"):
        degrade(cube, scale)


@pytest.mark.parametrize("scale", [4, 4.0, np.int64(4), np.uint8(4), np.float32(4)])
def test_whole_numbers_of_any_type_are_scales(cube, scale):
    assert type(check_scale(scale)) is int
    np.testing.assert_array_equal(degrade(cube, scale), degrade(cube, 4))


def test_at_scale_one_a_cube_keeps_its_grid_and_gets_noise(cube):
    noisy = degrade(cube, 1, snr_db=20.0)
    assert noisy.dims == cube.dims
    np.testing.assert_array_equal(noisy["x"], cube["x"])
    signal, noise = np.square(cube), np.square(noisy - cube)
    np.testing.assert_allclose(10 * np.log10(signal.mean(("y", "x")) / noise.mean(("y", "x"))), 20, atol=0.8)
    np.testing.assert_array_equal(degrade(cube.values, 1, psf="none", snr_db=20.0), noisy)


def test_at_scale_one_a_gaussian_blurs(cube):
    blurred = degrade(cube.values, 1, psf=Psf("gaussian", sigma=1.5))
    assert blurred.shape == cube.shape
    assert blurred.std(axis=(1, 2)).max() < 0.5 * cube.values.std(axis=(1, 2)).min()
    np.testing.assert_allclose(blurred.mean(), cube.values.mean(), atol=0.02)


@pytest.mark.parametrize("psf", ["bicubic", "average", "none"])
def test_at_scale_one_nothing_to_do_is_an_error(cube, psf):
    with pytest.raises(ParamsError, match=rf"At scale 1 without noise this PSF \({psf}\) changes nothing; give snr_db"):
        degrade(cube, 1, psf=psf)


@pytest.mark.parametrize("gsd", [30, 30.0, np.float32(30), np.int16(30), np.uint8(30)])
def test_the_pixel_size_grows_whatever_its_type(cube, gsd):
    cube.attrs["gsd_m"] = gsd
    assert degrade(cube, 8).attrs["gsd_m"] == 240


def test_bad_cubes(cube):
    with pytest.raises(DataError, match="height of 16 pixels leaves a remainder of 1 at scale 3"):
        degrade(cube, 3)
    with pytest.raises(DataError, match="dims y and x, got band, row, x"):
        degrade(cube.rename(y="row"), 4)
    with pytest.raises(DataError, match="at least the axes y and x"):
        degrade(np.zeros(8), 4)
    for kind in (complex, object, str):
        with pytest.raises(DataError, match="real numbers, got"):
            degrade(cube.values.astype(kind), 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("pixel", [(0, 0), (7, 11), (15, 23)])
def test_values_that_are_not_finite(cube, value, pixel):
    cube[1, pixel[0], pixel[1]] = value
    with pytest.raises(DataError, match=r"NaN or infinite values in band 2 \(600 nm\), which"):
        degrade(cube.transpose("y", "band", "x"), 4)
    with pytest.raises(DataError, match=r"NaN or infinite values in band 2, which"):
        degrade(np.stack([cube, cube]), 4)
    with pytest.raises(DataError, match=r"NaN or infinite values in it, which"):
        degrade(cube.values[1], 4)


def test_other_point_spread_functions(cube):
    np.testing.assert_allclose(degrade(cube, 4, psf="average"), cube.coarsen(y=4, x=4).mean(), rtol=1e-6)
    np.testing.assert_array_equal(degrade(cube, 4, psf="bicubic"), degrade(cube, 4))
    gaussian = Psf("gaussian", mtf=0.3)
    np.testing.assert_array_equal(degrade(cube, 4, psf=gaussian), gaussian.downsample(cube.values, 4))
    with pytest.raises(ParamsError, match=r"psf must be 'bicubic', .* or .*, got 'gaussian'; a Gaussian is Psf"):
        degrade(cube, 4, psf="gaussian")
    with pytest.raises(ParamsError, match="phase must lie within an LR pixel"):
        degrade(cube, 2, psf=Psf("gaussian", sigma=1.0, phase=2))


def test_noise_has_the_asked_ratio_and_a_seed():
    values = 1 + np.random.default_rng(0).random((2, 256, 256))
    low = degrade(values, 2)
    noise = degrade(values, 2, snr_db=30) - low
    snr_db = 10 * np.log10(np.mean(low**2, axis=(1, 2)) / np.mean(noise**2, axis=(1, 2)))
    np.testing.assert_allclose(snr_db, 30, atol=0.2)
    power = np.mean(low**2, axis=(1, 2))
    np.testing.assert_allclose(low + noise, add_noise(low, snr_db=30, power=power, seed=(0,)))
    np.testing.assert_array_equal(degrade(values, 2, snr_db=30), low + noise)
    assert np.abs(degrade(values, 2, snr_db=30, seed=1) - (low + noise)).max() > 0.01
    assert degrade(values[0], 2, snr_db=30).shape == (128, 128)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snr_db": np.nan}, "snr_db must be a number of decibels from .* or None for no noise, got nan"),
        ({"snr_db": "30"}, "snr_db must be a number of decibels.*, got '30'"),
        ({"snr_db": 4000.0}, "snr_db must be a number of decibels from -200 to 200, .*, got 4000"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, got -1"),
        ({"seed": 0.5}, r"seed must be a whole number of 0 or more, got 0\.5"),
    ],
)
def test_bad_noise(cube, options, message):
    with pytest.raises(ParamsError, match=message):
        degrade(cube, 4, **options)


def test_threads_share_out_the_bands_of_a_large_cube():
    values = np.random.default_rng(0).random((9, 256, 512), dtype=np.float32)
    np.testing.assert_allclose(degrade(values, 4), np.stack([degrade(band, 4) for band in values]), atol=1e-6)
    values[5, 200, 300] = np.nan
    with pytest.raises(DataError, match="NaN or infinite values in band 6, which"):
        degrade(values, 4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_order_in_memory_does_not_matter(order):
    values = np.random.default_rng(0).integers(0, 65535, (5, 64, 96), dtype=np.uint16)
    stored = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    np.testing.assert_allclose(degrade(stored, 4), degrade(values.astype(np.float32), 4), rtol=1e-5)
