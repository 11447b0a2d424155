import numpy as np
import pytest
import xarray as xr

from hsipipe.datasets.validate import validate_cube
from hsipipe.errors import DataError


@pytest.fixture
def cube():
    values = np.random.default_rng(0).random((5, 300, 40), dtype=np.float32)
    coords = {"wavelength_nm": ("band", [400.0, 410.0, 420.0, 430.0, 440.0])}
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords)


def test_a_good_cube_passes_lazy_or_not(cube):
    assert validate_cube(cube, name="s", bands=5) == 0
    assert validate_cube(cube.chunk({"y": 64}), name="s", bands=5) == 0


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values(cube, value):
    cube[2, 299, 39] = value
    with pytest.raises(DataError, match=r"Scene 's': band 3 \(420 nm\) of 5 holds 1 infinite values. Make them NaN"):
        validate_cube(cube, name="s")


def test_pixels_that_lack_a_band_are_counted_once(cube):
    cube[2, 299, 39] = np.nan
    cube[:, :30] = np.nan
    share = validate_cube(cube, name="s")
    assert share == pytest.approx((30 * 40 + 1) / 12000)
    cube[0] = np.nan
    assert validate_cube(cube, name="s", skip=[1]) == share


def test_a_band_is_dead_by_its_values_alone(cube):
    cube[4] = 0.25
    cube[:, 10] = np.nan
    with pytest.raises(DataError, match=r"band 5 \(440 nm\) of 5 is dead, every pixel is 0\.25"):
        validate_cube(cube, name="s")


def test_a_scene_that_has_hardly_any_data(cube):
    cube[3, 2:] = np.nan
    with pytest.raises(DataError, match=r"only 80 of 12000 pixels have data in every band.*band 4 .*none in 11920"):
        validate_cube(cube, name="s")


def test_a_dead_band(cube):
    cube[4] = 0.25
    with pytest.raises(DataError, match=r"band 5 \(440 nm\) of 5 is dead, every pixel is 0\.25"):
        validate_cube(cube, name="s")


def test_a_band_that_is_dead_in_a_part_of_the_scene_is_not_dead(cube):
    cube[4, :200] = 0.25
    validate_cube(cube, name="s")


def test_the_number_of_further_bad_bands_is_told(cube):
    cube[1:4] = 0
    with pytest.raises(DataError, match=r"band 2 of 5 .*same problem in 2 more bands"):
        validate_cube(cube.drop_vars("wavelength_nm"), name="s")


def test_a_band_that_is_all_nan(cube):
    cube[0] = np.nan
    with pytest.raises(DataError, match=r"band 1 \(400 nm\) of 5 has none in 12000. .*set p.drop to \[1\]"):
        validate_cube(cube, name="s", drop="p.drop")


def test_band_count_and_dims(cube):
    with pytest.raises(DataError, match="has 5 bands, expected 31"):
        validate_cube(cube, name="s", bands=31)
    with pytest.raises(DataError, match="has dims"):
        validate_cube(cube.transpose("y", "x", "band"), name="s")


def test_skipped_bands_are_not_looked_at_and_the_others_keep_their_numbers(cube):
    cube[0] = np.nan
    cube[3:] = 0
    validate_cube(cube, name="s", skip=[1, 4, 5])
    with pytest.raises(DataError, match=r"band 4 \(430 nm\) of 5 is dead.*same problem in 1 more"):
        validate_cube(cube, name="s", skip=[1])


def test_the_parameter_that_leaves_bands_out_is_told_with_its_value(cube):
    cube[3:] = 0
    with pytest.raises(DataError, match=r"Set p\.drop to \[1, 4, 5\] \(counted from 1\) or remove"):
        validate_cube(cube, name="s", skip=[1], drop="p.drop")
    cube[2, 0, 0] = np.inf
    with pytest.raises(DataError, match=r"\(no data\), set p\.drop to \[3\] \(counted from 1\) or remove"):
        validate_cube(cube, name="s", drop="p.drop")
