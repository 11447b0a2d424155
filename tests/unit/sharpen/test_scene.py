"""The part of a file that is sharpened: bands, pixels with data, range."""

import numpy as np
import pytest
import xarray as xr

from hsipipe.errors import DataError
from hsipipe.formats.band_facts import with_good_bands
from hsipipe.sharpen.scene import MOST_VALUES, read_scene, window_of


def cube_of(values, **coords):
    return xr.DataArray(values, dims=("band", "y", "x")).assign_coords(coords)


def test_bad_constant_and_empty_bands_are_dropped_and_named(make_scene):
    values = make_scene(bands=6) * 8000
    values[1], values[4] = 3.0, np.nan
    cube = with_good_bands(cube_of(values, wavelength_nm=("band", np.linspace(400, 900, 6))), np.arange(6) != 2)
    scene = read_scene(cube, "x.nc", scale=2, full_scale=None)
    assert scene.dropped == ("band 2 (500 nm)", "band 3 (600 nm)", "band 5 (800 nm)")
    assert scene.wavelength_nm.tolist() == [400.0, 700.0, 900.0]
    assert scene.cube.sizes["band"] == 3
    assert "bad_bands" not in scene.cube.attrs
    assert (scene.full_scale, scene.valid.all()) == (10000.0, True)
    assert scene.values.max() < 1


def test_a_pixel_that_lacks_a_band_has_no_data(make_scene):
    values = make_scene()
    values[3, 5, 7], values[0, 9, 9] = np.nan, np.inf
    scene = read_scene(cube_of(values), "x.nc", scale=2, full_scale=1.0)
    assert np.argwhere(~scene.valid).tolist() == [[5, 7], [9, 9]]
    assert np.isfinite(scene.values).all()
    assert np.argwhere(np.isnan(scene.cube.values)).tolist() == [[0, 9, 9], [3, 5, 7]]
    assert not np.isinf(scene.cube.values).any()


@pytest.mark.parametrize(("attrs", "factor", "expected"), [({}, 1, 1.0), ({}, 9000, 10000.0), ({}, 60000, 65535.0)])
def test_the_range_is_a_likely_one(make_scene, attrs, factor, expected):
    cube = cube_of(make_scene() * factor).assign_attrs(attrs)
    assert read_scene(cube, "x.nc", scale=2, full_scale=None).full_scale == expected


def test_a_glint_is_no_other_range(make_scene):
    values = make_scene(height=64, width=64)
    values[:, 5, 7] = 3.7
    assert read_scene(cube_of(values), "x.nc", scale=2, full_scale=None).full_scale == 1.0
    values[:, 5:12, 7] = 3.7
    assert read_scene(cube_of(values), "x.nc", scale=2, full_scale=None).full_scale == 100.0


def test_the_range_of_the_file_comes_first(make_scene):
    cube = cube_of(make_scene() * 3000).assign_attrs(reflectance_scale_factor=20000)
    assert read_scene(cube, "x.nc", scale=2, full_scale=None).full_scale == 20000.0
    assert read_scene(cube, "x.nc", scale=2, full_scale=5000.0).full_scale == 5000.0


def test_values_of_an_unknown_range_and_empty_cubes_are_refused(make_scene):
    with pytest.raises(DataError, match=r"x.nc has values up to .*, whose range is unknown; set it with --full-scale"):
        read_scene(cube_of(make_scene() * 1e7), "x.nc", scale=2, full_scale=None)
    with pytest.raises(DataError, match=r"x.nc has no usable band: all are bad, constant or without data"):
        read_scene(cube_of(np.full((3, 20, 20), np.nan, np.float32)), "x.nc", scale=2, full_scale=None)


def test_of_a_large_scene_the_middle_is_fitted_on():
    whole = window_of(10, 101, 203, scale=4)
    assert (whole.y0, whole.y1, whole.x0, whole.x1) == (0, 100, 0, 200)
    part = window_of(200, 4000, 300, scale=8)
    assert part.pixels * 200 <= MOST_VALUES
    assert (part.x0, part.x1) == (0, 296)
    assert abs((part.y0 + part.y1) / 2 - 2000) <= 8
    assert all(edge % 8 == 0 for edge in part)
