"""Axes of labelled arrays by their names, by CF attributes, and axes of length 1."""

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube

NM = np.linspace(450.0, 850.0, 5)


def write(path, values, dims, coords=None):
    xr.Dataset({"r": (dims, values)}, coords=coords).to_netcdf(path, engine="scipy")


@pytest.mark.parametrize(
    "band", ["wl", "spectral_band", "wavelengths", "n_bands", "nbands", "channels", "band_index", "Lambda"]
)
@pytest.mark.parametrize(
    ("y", "x"), [("nrows", "ncols"), ("line", "pixel"), ("lat", "lon"), ("ny", "nx"), ("yc", "xc")]
)
def test_common_names_of_axes_in_any_order(tmp_path, cube_values, band, y, x):
    write(tmp_path / "a.nc", cube_values.transpose(1, 2, 0), (y, x, band))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.nc"), cube_values)


def test_axes_by_their_cf_attributes(tmp_path, cube_values):
    coords = {
        "i": ("i", np.arange(12.0), {"axis": "X"}),
        "j": ("j", np.arange(8.0), {"standard_name": "projection_y_coordinate"}),
        "k": ("k", NM / 1000, {"units": "um"}),
    }
    write(tmp_path / "a.nc", cube_values.transpose(2, 0, 1), ("i", "k", "j"), coords)
    cube = open_cube(tmp_path / "a.nc")
    np.testing.assert_array_equal(cube, cube_values)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)
    np.testing.assert_array_equal(cube["x"], np.arange(12.0))


@pytest.mark.parametrize("units", ["nm", "um", "micrometers", "Angstrom"])
def test_the_coordinate_of_the_bands_in_units_of_a_wavelength(tmp_path, cube_values, units):
    factor = {"nm": 1, "um": 1e-3, "micrometers": 1e-3, "Angstrom": 10}[units]
    coords = {"spectral_band": ("spectral_band", NM * factor, {"units": units})}
    write(tmp_path / "a.nc", cube_values, ("spectral_band", "y", "x"), coords)
    np.testing.assert_allclose(open_cube(tmp_path / "a.nc")["wavelength_nm"], NM)


def test_a_position_in_micrometres_is_no_wavelength(tmp_path, cube_values):
    coords = {"x": ("x", 400 + np.arange(12.0), {"units": "um"})}
    write(tmp_path / "a.nc", cube_values, ("band", "y", "x"), coords)
    assert "wavelength_nm" not in open_cube(tmp_path / "a.nc").coords


@pytest.mark.parametrize(
    ("dims", "shape"),
    [(("time", "band", "y", "x"), (1, 5, 8, 12)), (("band", "level", "y", "x", "time"), (5, 1, 8, 12, 1)),
     (("time", "band", "y", "x"), (1, 1, 8, 12)), (("time", "y", "x", "band"), (1, 8, 12, 5))],
)  # fmt: skip
def test_other_axes_of_length_one_are_dropped(tmp_path, dims, shape):
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    write(tmp_path / "a.nc", values, dims)
    expected = xr.DataArray(values, dims=dims).squeeze([d for d in dims if d not in ("band", "y", "x")])
    np.testing.assert_array_equal(open_cube(tmp_path / "a.nc"), expected.transpose("band", "y", "x"))


@pytest.mark.parametrize("store", ["h5", "zarr"])
def test_unnamed_axes_of_length_one_are_dropped(tmp_path, cube_values, store):
    if store == "h5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["r"] = cube_values[None]
    else:
        zarr.create_group(tmp_path / "a.zarr").create_array("r", data=cube_values[None])
    np.testing.assert_array_equal(open_cube(tmp_path / f"a.{store}", bands=5), cube_values)


def test_several_times_are_an_error_that_names_them(tmp_path, cube_values):
    write(tmp_path / "a.nc", np.stack([cube_values] * 2), ("time", "band", "y", "x"))
    with pytest.raises(FileFormatError, match=r"rank 4 \(time=2, band=5, y=8, x=12\), expected 3; select one entry"):
        open_cube(tmp_path / "a.nc", variable="r")


@pytest.mark.parametrize("target", ["/data/reflectance", "data/reflectance", "data/other"])
def test_a_soft_link_inside_the_file_is_followed_by_name(tmp_path, cube_values, target):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/reflectance"] = cube_values
        file["data/other"] = h5py.SoftLink("reflectance")
        file["current"] = h5py.SoftLink(target)
    for name in ("current", "data/reflectance", None):
        np.testing.assert_array_equal(open_cube(tmp_path / "a.h5", variable=name, bands=5), cube_values)


@pytest.mark.parametrize("target", ["/nowhere", "/loop", "../../etc"])
def test_a_soft_link_that_leads_nowhere_is_a_name_without_data(tmp_path, cube_values, target):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["r"] = cube_values
        file["loop"] = h5py.SoftLink(target)
    assert open_cube(tmp_path / "a.h5", bands=5).shape == (5, 8, 12)
    with pytest.raises(FileFormatError, match="no variable"):
        open_cube(tmp_path / "a.h5", variable="loop")


def test_a_soft_link_in_matlab_v73_is_passed_over(tmp_path, cube_values):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["real"] = cube_values
        file["data"] = h5py.SoftLink("/real")
    assert open_cube(tmp_path / "a.mat", bands=5).shape == (5, 8, 12)


def bil(order):
    """Neighbouring bands alike, neighbouring pixels not, as a scene of vegetation from far away."""
    noise = np.random.default_rng(0).random((1, 30, 25))
    values = (np.sin(np.arange(20) / 5)[:, None, None] + noise).astype(np.float32)
    return values, values.transpose(order)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("store", ["h5", "zarr"])
def test_unnamed_axes_by_the_values(tmp_path, store, order):
    values, stored = bil(order)
    if store == "h5":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["r"] = stored
    else:
        zarr.create_group(tmp_path / "a.zarr").create_array("r", data=np.ascontiguousarray(stored))
    np.testing.assert_array_equal(open_cube(tmp_path / f"a.{store}"), values)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)])
def test_unnamed_axes_in_doubt_are_an_error_that_names_bands(tmp_path, order):
    values = np.random.default_rng(0).random((20, 30, 25)).transpose(order)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["r"] = values
    with pytest.raises(FileFormatError, match=r"a\.h5: the axes of 'r' .* give the number of bands, bands=N"):
        open_cube(tmp_path / "a.h5")
    assert open_cube(tmp_path / "a.h5", bands=20).shape == (20, 30, 25)
