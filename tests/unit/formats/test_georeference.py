import numpy as np
import pytest
import xarray as xr
from affine import Affine

from hsipipe.formats.georeference import attach, crs_of, refine, transform_of

TRANSFORM = Affine(30, 0, 500000, 0, -30, 4649000)


@pytest.fixture
def cube(cube_values):
    nm = ("band", np.linspace(400, 800, 5), {"units": "nm"})
    cube = xr.DataArray(cube_values, dims=("band", "y", "x"), attrs={"gsd_m": 30, "units": "1"})
    return cube.assign_coords(wavelength_nm=nm)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_finer_pixels_keep_the_outer_edges(cube, scale):
    cube = attach(cube, crs=32632, transform=TRANSFORM)
    values = np.zeros((5, 8 * scale, 12 * scale), np.float32)
    fine = refine(cube, values, scale=scale)
    step = 30 / scale
    np.testing.assert_allclose(fine["x"], 500000 + step * (np.arange(12 * scale) + 0.5))
    np.testing.assert_allclose(fine["y"], 4649000 - step * (np.arange(8 * scale) + 0.5))
    assert crs_of(fine).to_epsg() == 32632
    assert fine["spatial_ref"].attrs["GeoTransform"] == f"500000.0 {step} 0.0 4649000.0 0.0 {-step}"
    assert transform_of(fine).almost_equals(Affine(step, 0, 500000, 0, -step, 4649000))
    np.testing.assert_array_equal(fine["wavelength_nm"], cube["wavelength_nm"])
    assert fine.attrs == {"gsd_m": step, "units": "1"}
    assert cube["spatial_ref"].attrs["GeoTransform"].startswith("500000.0 30.0")


def test_one_pixel_is_refined_by_its_transform(cube):
    cube = attach(cube[:, :1, :1], crs=32632, transform=TRANSFORM)
    fine = refine(cube, np.zeros((5, 2, 2), np.float32), scale=2)
    np.testing.assert_allclose(fine["x"], [500007.5, 500022.5])
    np.testing.assert_allclose(fine["y"], [4648992.5, 4648977.5])


def test_a_turned_grid_keeps_turning(cube):
    cube = attach(cube, crs=32632, transform=Affine(20, 5, 0, 5, -20, 100))
    fine = refine(cube, np.zeros((5, 16, 24), np.float32), scale=2)
    assert fine["spatial_ref"].attrs["GeoTransform"] == "0.0 10.0 2.5 100.0 2.5 -10.0"
    assert not {"y", "x"} & set(fine.coords)
    assert transform_of(fine) == Affine(10, 2.5, 0, 2.5, -10, 100)


def test_without_a_position_none_is_made_up(cube):
    fine = refine(cube, np.zeros((5, 16, 24), np.float32), scale=2)
    assert set(fine.coords) == {"wavelength_nm"}
    assert transform_of(fine) is None
    assert crs_of(fine) is None


def test_unevenly_spaced_rows_are_interpolated_and_have_no_transform(cube):
    cube = cube.assign_coords(y=np.arange(8.0) ** 2, x=np.arange(12.0))
    assert transform_of(cube) is None
    fine = refine(cube, np.zeros((5, 16, 24), np.float32), scale=2)
    np.testing.assert_allclose(fine["y"][:6], [-0.25, 0.25, 0.75, 1.75, 3.25, 5.25])


def test_positions_of_every_pixel_are_dropped_since_they_do_not_fit_the_finer_grid(cube):
    cube = cube.assign_coords(lat=(("y", "x"), np.zeros((8, 12))))
    assert set(refine(cube, np.zeros((5, 16, 24), np.float32), scale=2).coords) == {"wavelength_nm"}
