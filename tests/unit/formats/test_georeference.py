import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

import hsipipe
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach, crs_of, gcps_of, rpcs_of, transform_of
from hsipipe.formats.regrid import coarsen, refine

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


def test_positions_of_every_pixel_follow_the_pixels(cube):
    rows, columns = np.mgrid[:8, :12]
    cube = cube.assign_coords(lat=(("y", "x"), 50 - 0.5 * rows), lon=(("y", "x"), 8 + 0.25 * columns - 0.1 * rows))
    fine = refine(cube, np.zeros((5, 16, 24), np.float32), scale=2)
    for name in ("lat", "lon"):
        low = np.asarray(fine[name]).reshape(8, 2, 12, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(low, cube[name])
        np.testing.assert_allclose(coarsen(fine, cube.values, scale=2)[name], cube[name])


def test_longitudes_across_the_date_line_are_not_averaged_to_zero(cube):
    lon = np.broadcast_to((170.0 + 2 * np.arange(12) + 180) % 360 - 180, (8, 12))
    cube = cube.assign_coords(lon=(("y", "x"), lon))
    fine = refine(cube, np.zeros((5, 16, 24), np.float32), scale=2)
    assert (np.abs(fine["lon"]) > 165).all()
    np.testing.assert_allclose(coarsen(fine, cube.values, scale=2)["lon"], lon)


def test_labels_without_a_value_between_pixels_are_dropped_with_a_warning(cube, caplog):
    cube = cube.assign_coords(line=("y", list("abcdefgh")))
    assert "line" not in refine(cube, np.zeros((5, 16, 24), np.float32), scale=2).coords
    assert "'line' is dropped" in caplog.text


TRANSFORMS = st.builds(
    lambda left, top, step, angle, flip: (
        Affine.translation(left, top) @ Affine.rotation(angle) @ Affine.scale(step, step if flip else -step)
    ),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(0.5, 100),
    st.sampled_from([0.0, -20.0, 90.0, 33.3]),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(transform=TRANSFORMS, scale=st.integers(1, 4))
def test_any_grid_keeps_its_place_over_degradation_and_prediction(transform, scale):
    values = np.ones((2, 12, 24), np.float32)
    hr = attach(xr.DataArray(values, dims=("band", "y", "x")), crs=32632, transform=transform)
    low = coarsen(hr, np.ones((2, 12 // scale, 24 // scale), np.float32), scale=scale)
    expected = transform @ Affine.scale(scale)
    np.testing.assert_allclose(transform_of(low)[:6], expected[:6], rtol=1e-9, atol=1e-6)
    back = refine(low, values, scale=scale)
    np.testing.assert_allclose(transform_of(back)[:6], transform[:6], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr"])
@pytest.mark.parametrize("angle", [0, -20, 90])
def test_a_rotated_scene_is_degraded_saved_and_predicted_in_place(tmp_path, suffix, angle):
    transform = Affine.translation(5e5, 5e6) @ Affine.rotation(angle) @ Affine.scale(30, -30)
    hr = xr.DataArray(np.random.default_rng(0).random((3, 16, 24), dtype=np.float32), dims=("band", "y", "x"))
    low = hsipipe.degrade(attach(hr, crs=32632, transform=transform), 4)
    save_cube(low, tmp_path / f"low{suffix}")
    found = open_cube(tmp_path / f"low{suffix}")
    np.testing.assert_allclose(transform_of(found)[:6], (transform @ Affine.scale(4))[:6])
    assert crs_of(found).to_epsg() == 32632
    np.testing.assert_allclose(transform_of(refine(found, hr.values, scale=4))[:6], transform[:6])
    if suffix != ".zarr":
        with rasterio.open(tmp_path / f"low{suffix}") as raster:
            np.testing.assert_allclose(raster.transform[:6], (transform @ Affine.scale(4))[:6])
            np.testing.assert_array_equal(raster.read(), low)


def test_one_pixel_keeps_its_place(cube):
    whole = attach(cube[:, :, :8], crs=32632, transform=TRANSFORM)
    one = coarsen(whole, np.ones((5, 1, 1), np.float32), scale=8)
    np.testing.assert_allclose(transform_of(one)[:6], (TRANSFORM @ Affine.scale(8))[:6])


def test_a_cropped_cube_has_the_place_of_its_coordinates(cube):
    part = attach(cube, crs=32632, transform=TRANSFORM)[:, 2:3, 4:5]
    np.testing.assert_allclose(transform_of(part)[:6], (TRANSFORM @ Affine.translation(4, 2))[:6])


GCPS = [GroundControlPoint(row, col, 8 + col / 100, 50 - row / 100, 120.0) for row in (0, 8) for col in (0, 12)]
RPCS = RPC(
    height_off=100.0, height_scale=500.0, lat_off=50.0, lat_scale=0.1, long_off=8.0, long_scale=0.1,
    line_off=3.5, line_scale=4.0, samp_off=5.5, samp_scale=6.0,
    line_num_coeff=[0.0, 0.0, -1.0] + [0.0] * 17, line_den_coeff=[1.0] + [0.0] * 19,
    samp_num_coeff=[0.0, 1.0] + [0.0] * 18, samp_den_coeff=[1.0] + [0.0] * 19, err_bias=0.0, err_rand=0.0,
)  # fmt: skip


@pytest.fixture
def swath(tmp_path, cube_values):
    """A TIFF with ground control points and rational polynomial coefficients instead of a transform."""
    profile = {"driver": "GTiff", "count": 5, "height": 8, "width": 12, "dtype": "float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "swath.tif", "w", **profile) as raster:
            raster.write(cube_values)
            raster.gcps = GCPS, rasterio.CRS.from_epsg(4326)
            raster.rpcs = RPCS
    return open_cube(tmp_path / "swath.tif")


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr"])
def test_control_points_and_coefficients_survive(tmp_path, swath, suffix):
    save_cube(swath, tmp_path / f"a{suffix}")
    found = open_cube(tmp_path / f"a{suffix}")
    assert [(p.row, p.col, p.x, p.y, p.z) for p in gcps_of(found)] == [(p.row, p.col, p.x, p.y, p.z) for p in GCPS]
    assert crs_of(found).to_epsg() == 4326
    assert (rpcs_of(found).line_off, rpcs_of(found).samp_scale) == (3.5, 6.0)
    if suffix == ".tif":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(tmp_path / "a.tif") as raster:
                assert [(p.row, p.col, p.x) for p in raster.gcps[0]] == [(p.row, p.col, p.x) for p in GCPS]
                assert raster.rpcs.line_off == 3.5


def test_control_points_and_coefficients_follow_the_pixels(swath):
    low = hsipipe.degrade(swath, 4)
    assert [(p.row, p.col) for p in gcps_of(low)] == [(p.row / 4, p.col / 4) for p in GCPS]
    # The ground that was seen at the outer corner, line -0.5, is seen there still.
    assert (rpcs_of(low).line_off, rpcs_of(low).line_scale) == (0.5, 1.0)
    back = refine(low, swath.values, scale=4)
    assert [(p.row, p.col, p.x, p.y) for p in gcps_of(back)] == [(p.row, p.col, p.x, p.y) for p in GCPS]
    assert rpcs_of(back).samp_off == pytest.approx(5.5)


@pytest.mark.parametrize("text", ["{", "[]", '{"features": [{}]}', "[" * 100_000])
def test_control_points_that_cannot_be_read_are_dropped_with_a_warning(cube, text, caplog):
    cube = cube.assign_coords(spatial_ref=((), 0, {"gcps": text}))
    assert "gcps" not in refine(cube, np.zeros((5, 16, 24), np.float32), scale=2)["spatial_ref"].attrs
    assert "the position by gcps is dropped" in caplog.text
