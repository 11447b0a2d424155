"""Cubes in NetCDF, HDF5 and Zarr as other programs write them."""

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import crs_of

NM = np.array([450.0, 500.0, 550.0, 600.0, 650.0])


def test_a_zarr_store_from_outside_may_leave_out_chunks_of_the_fill_value(tmp_path, cube_values):
    xr.Dataset({"a": (("band", "y", "x"), cube_values * 0)}).to_zarr(
        tmp_path / "a.zarr", zarr_format=3, consolidated=False, encoding={"a": {"write_empty_chunks": False}}
    )
    assert float(open_cube(tmp_path / "a.zarr").max()) == 0


def test_netcdf_dims_and_wavelengths_by_their_usual_names(tmp_path, cube_values):
    dataset = xr.Dataset(
        {"rad": (("lat", "lon", "wavelength"), cube_values.transpose(1, 2, 0))},
        coords={"wavelength": ("wavelength", NM / 1000, {"units": "um"})},
    )
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    cube = open_cube(tmp_path / "a.nc")
    np.testing.assert_array_equal(cube, cube_values)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        *((unit, 1) for unit in ("nm", "Nanometers", "nanometre")),
        *((unit, 1e-3) for unit in ("um", "µm", "μm", "micrometer", "Micrometre", "micrometers", "micron", "microns ")),
        ("m", 1e-9),
    ],
)
def test_units_of_the_wavelengths(tmp_path, cube_values, units, factor):
    _with_units(cube_values, units, factor).to_netcdf(tmp_path / "a.nc", engine="scipy")
    np.testing.assert_allclose(open_cube(tmp_path / "a.nc")["wavelength_nm"], NM)


def test_an_unknown_unit_of_the_wavelengths_is_an_error(tmp_path, cube_values):
    _with_units(cube_values, "K", 1).to_netcdf(tmp_path / "a.nc", engine="scipy")
    with pytest.raises(FileFormatError, match=r"a\.nc: 'wavelength' is in 'K', expected nm, um, m or wavenumbers"):
        open_cube(tmp_path / "a.nc")


def _with_units(values, units, factor):
    coords = {"wavelength": ("wavelength", NM * factor, {"units": units})}
    return xr.Dataset({"rad": (("wavelength", "y", "x"), values)}, coords=coords)


@pytest.mark.parametrize(
    ("dims", "variable"),
    [(("band", "y_lr", "x_lr"), "lr"), (("msi_band", "y", "x"), "msi"), (("band", "y", "x"), "hr")],
)
def test_the_axes_of_our_own_pairs_are_known_whatever_their_lengths(tmp_path, dims, variable):
    # Two equal sides at the front: by its lengths, the last axis would hold the bands.
    values = np.random.default_rng(0).random((4, 4, 6), dtype=np.float32)
    xr.Dataset({variable: (dims, values)}).to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr", variable=variable), values)


@pytest.mark.parametrize("dims", [("time", "y", "x"), ("band", "dim_0", "dim_1"), ("y", "lat", "x")])
def test_axes_of_which_some_are_known_are_not_guessed(tmp_path, cube_values, dims):
    xr.Dataset({"a": (dims, cube_values)}).to_netcdf(tmp_path / "a.nc", engine="scipy")
    with pytest.raises(FileFormatError, match=rf"a\.nc: the axes {', '.join(dims)} are not clearly band, y and x"):
        open_cube(tmp_path / "a.nc")


def test_netcdf4_is_read_with_its_dimension_scales(tmp_path, cube_values):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["wavelength"] = NM
        file["wavelength"].make_scale("wavelength")
        file["wavelength"].attrs["units"] = "nm"
        for name, size in (("y", 8), ("x", 12)):
            file[name] = np.zeros(size, dtype=">f4")
            file[name].make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:10d}")
        file["rad"] = cube_values.transpose(1, 2, 0)
        for axis, name in enumerate(("y", "x", "wavelength")):
            file["rad"].dims[axis].attach_scale(file[name])
    cube = open_cube(tmp_path / "a.nc")
    np.testing.assert_array_equal(cube, cube_values)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)


def _packed(values):
    stored = np.round(values * 1000).astype(np.int16)
    stored[1, 2, 3] = -9999
    attrs = {"_FillValue": np.int16(-9999), "scale_factor": 0.001, "add_offset": 0.5, "units": "1"}
    coords = {"wavelength": ("wavelength", NM, {"units": "nm"})}
    return xr.Dataset({"rad": (("wavelength", "y", "x"), stored, attrs)}, coords=coords), stored


@pytest.mark.parametrize("kind", ["classic", "zarr2", "zarr3", "hdf5"])
def test_values_follow_the_cf_conventions(tmp_path, cube_values, kind):
    dataset, stored = _packed(cube_values)
    path = tmp_path / {"classic": "a.nc", "hdf5": "a.h5"}.get(kind, "a.zarr")
    if kind == "classic":
        dataset.to_netcdf(path, engine="scipy")
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["science/rad"] = stored
            file["science/rad"].attrs.update(dataset["rad"].attrs)
            file["science/wavelength"] = NM
    else:
        dataset.to_zarr(path, zarr_format=int(kind[-1]), consolidated=False)
    cube = open_cube(path)
    expected = stored * 0.001 + 0.5
    assert np.argwhere(np.isnan(cube.values)).tolist() == [[1, 2, 3]]
    np.testing.assert_allclose(cube.fillna(0), np.where(stored == -9999, 0, expected), rtol=1e-6)
    assert cube.chunks is not None
    assert not {"_FillValue", "scale_factor", "add_offset"} & set(cube.attrs)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)
    save_cube(cube, tmp_path / "b.nc")
    np.testing.assert_array_equal(open_cube(tmp_path / "b.nc"), cube)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("inside", ["", "group/"])
def test_zarr_without_names_of_axes(tmp_path, zarr_format, inside):
    values = np.random.default_rng(0).integers(0, 5, size=(8, 12, 5)).astype(np.uint16)
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    root.create_array(f"{inside}cube", data=values, chunks=(3, 4, 5))
    cube = open_cube(tmp_path / "a.zarr")
    np.testing.assert_array_equal(cube, values.transpose(2, 0, 1))
    assert cube.chunks is not None


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_array_alone(tmp_path, zarr_format):
    values = np.random.default_rng(0).integers(0, 5, size=(8, 12, 5)).astype(np.uint16)
    zarr.create_array(tmp_path / "a.zarr", data=values, zarr_format=zarr_format)
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr"), values.transpose(2, 0, 1))


def test_zeros_of_a_zarr_v2_store_are_values(tmp_path):
    values = np.zeros((3, 4, 5), dtype=np.uint16)
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    root.create_array("cube", data=values).attrs["_ARRAY_DIMENSIONS"] = ["band", "y", "x"]
    np.testing.assert_array_equal(open_cube(tmp_path / "a.zarr"), values)


def test_a_position_in_the_words_of_other_programs(tmp_path, cube_values):
    grid = {
        "grid_mapping_name": "latitude_longitude",
        "semi_major_axis": 6378137.0,
        "inverse_flattening": 298.257223563,
    }
    dataset = xr.Dataset(
        {
            "rad": (("band", "lat", "lon"), cube_values, {"grid_mapping": "crs"}),
            "crs": ((), np.int32(0), grid),
            "wavelength": ("band", NM),
        },
        coords={"lat": 50 - 0.1 * np.arange(8), "lon": 8 + 0.1 * np.arange(12)},
    )
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    cube = open_cube(tmp_path / "a.nc")
    assert crs_of(cube).is_geographic
    np.testing.assert_allclose(cube["y"], 50 - 0.1 * np.arange(8))
    assert "grid_mapping" not in cube.attrs


@pytest.mark.parametrize("suffix", [".nc", ".h5"])
def test_a_grid_mapping_that_is_a_character(tmp_path, cube_values, suffix):
    grid = {"grid_mapping_name": "latitude_longitude", "semi_major_axis": 6378137.0, "inverse_flattening": 298.25}
    if suffix == ".nc":
        dataset = xr.Dataset(
            {"rad": (("band", "y", "x"), cube_values, {"grid_mapping": "crs"}), "crs": ((), b"", grid)}
        )
        dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    else:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["rad"] = cube_values
            file["rad"].attrs["grid_mapping"] = "crs"
            file["crs"] = np.bytes_(b"a")
            file["crs"].attrs.update(grid)
    assert crs_of(open_cube(tmp_path / f"a{suffix}", bands=5)).is_geographic


def test_hdf5_as_a_flight_line_is_delivered(tmp_path, cube_values):
    stored = np.round(cube_values * 10000).astype(np.int16).transpose(1, 2, 0)
    stored[0, 0] = -9999
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["SITE/Reflectance/Reflectance_Data"] = stored
        file["SITE/Reflectance/Reflectance_Data"].attrs.update(Data_Ignore_Value=-9999.0, Scale_Factor=10000.0)
        file["SITE/Reflectance/Metadata/Spectral_Data/Wavelength"] = NM
        file["SITE/Reflectance/Metadata/Spectral_Data/Wavelength"].attrs["Units"] = "nanometers"
        file["SITE/Reflectance/Metadata/Aspect"] = np.zeros((8, 12))
    cube = open_cube(tmp_path / "a.h5")
    assert cube.shape == (5, 8, 12)
    assert np.isnan(cube[:, 0, 0]).all()
    np.testing.assert_array_equal(cube[:, 1:], stored.transpose(2, 0, 1)[:, 1:])
    np.testing.assert_allclose(cube["wavelength_nm"], NM)
    assert open_cube(tmp_path / "a.h5", variable="Reflectance_Data").shape == (5, 8, 12)


def test_netcdf4_axes_by_their_names_in_other_groups(tmp_path, cube_values):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        for name, size in (("downtrack", 8), ("crosstrack", 12), ("bands", 5)):
            file[name] = np.zeros(size, dtype=">f4")
            file[name].make_scale(f"This is a netCDF dimension but not a netCDF variable. {size:10d}")
        file["reflectance"] = cube_values.transpose(1, 2, 0)
        for axis, name in enumerate(("downtrack", "crosstrack", "bands")):
            file["reflectance"].dims[axis].attach_scale(file[name])
        file["sensor/wavelengths"] = NM
        file["sensor/wavelengths"].attrs["units"] = "nm"
    cube = open_cube(tmp_path / "a.nc")
    np.testing.assert_array_equal(cube, cube_values)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)


def test_an_unlimited_axis_of_a_classic_file_is_read_in_place(tmp_path, cube_values):
    dataset = xr.Dataset({"a": (("band", "y", "x"), cube_values), "b": (("band", "y"), cube_values[..., 0])})
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy", unlimited_dims=["band"])
    cube = open_cube(tmp_path / "a.nc")
    assert cube.chunks is not None
    np.testing.assert_array_equal(cube, cube_values)


@pytest.mark.parametrize("name", ["wavelength_nm", "Wavelengths"])
def test_wavelengths_as_an_attribute_of_the_cube(tmp_path, cube_values, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = cube_values
        file["cube"].attrs[name] = NM
    cube = open_cube(tmp_path / "a.h5")
    np.testing.assert_array_equal(cube, cube_values)
    np.testing.assert_array_equal(cube["wavelength_nm"], NM)


def test_a_vector_that_would_fill_the_memory_is_left_in_the_file(tmp_path, cube_values):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = cube_values
        file.create_dataset("points", shape=(10**11,), dtype="f8", chunks=(10**6,))
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("cube", shape=cube_values.shape, dtype="f4")[:] = cube_values
    group.create_array("points", shape=(10**13,), dtype="f8", chunks=(10**9,))
    for name in ("a.h5", "a.zarr"):
        assert sorted(open_cube(tmp_path / name).shape) == sorted(cube_values.shape)
