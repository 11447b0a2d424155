"""Names, widths, bad bands and attributes of a cube survive in every format that can hold them."""

import warnings

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach

NAMES = ["B02", "B03", "Grün", ""]
NM = [490.0, 560.0, 665.5, 842.0]
FWHM = [65.0, 35.0, 30.25, 115.0]
every_format = pytest.mark.parametrize("suffix", [".nc", ".tif", ".zarr"])


@pytest.fixture
def cube():
    values = np.random.default_rng(0).random((4, 8, 9), dtype=np.float32)
    attrs = {"ACQUISITION": "2022-06-12", "units": "1", "bad_bands": [2, 4], "gsd_m": 30.0}
    cube = xr.DataArray(values, dims=("band", "y", "x"), attrs=attrs)
    cube = cube.assign_coords(
        band_name=("band", NAMES), wavelength_nm=("band", NM), fwhm_nm=("band", FWHM), detector=("band", [1, 1, 2, 2])
    )
    return attach(cube, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000))


@every_format
def test_facts_about_bands_and_attributes_survive(tmp_path, cube, suffix):
    path = tmp_path / f"a{suffix}"
    save_cube(cube, path)
    for _ in range(2):
        found = open_cube(path)
        assert found["band_name"].values.tolist() == NAMES
        np.testing.assert_allclose(found["wavelength_nm"], NM)
        np.testing.assert_allclose(found["fwhm_nm"], FWHM)
        assert {key: np.asarray(value).tolist() for key, value in found.attrs.items()} == cube.attrs
        assert suffix == ".tif" or found["detector"].values.tolist() == [1, 1, 2, 2]
        save_cube(found, path)


def test_a_tiff_shows_them_to_gdal(tmp_path, cube):
    save_cube(cube, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.descriptions == ("B02", "B03", "Grün", "842 nm")
        assert raster.tags()["ACQUISITION"] == "2022-06-12"
        tags = [raster.tags(band) for band in raster.indexes]
        assert [float(entry["wavelength"]) for entry in tags] == NM
        assert [entry["detector"] for entry in tags] == ["1", "1", "2", "2"]
        assert [float(raster.tags(band, ns="IMAGERY")["FWHM_UM"]) for band in raster.indexes] == [
            0.065,
            0.035,
            0.03025,
            0.115,
        ]


def test_zarr_shows_them_to_xarray(tmp_path, cube):
    save_cube(cube, tmp_path / "a.zarr")
    with xr.open_zarr(tmp_path / "a.zarr") as dataset:
        assert dataset["band_name"].values.tolist() == NAMES
        np.testing.assert_allclose(dataset["fwhm_nm"], FWHM)


def test_a_tiff_of_another_program_keeps_names_and_tags(tmp_path):
    profile = {"driver": "GTiff", "count": 3, "height": 8, "width": 9, "dtype": "float32"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=Affine(2, 0, 0, 0, -2, 0), **profile) as raster:
        raster.write(np.ones((3, 8, 9), np.float32))
        raster.update_tags(ACQUISITION="2022-06-12", scale_factor="0.1", bad_bands="no list")
        for band, name in enumerate(("red edge", "B8A", "x=1"), start=1):
            raster.set_band_description(band, name)
            raster.update_tags(band, ns="IMAGERY", FWHM_UM=str(0.01 * band))
    cube = open_cube(tmp_path / "a.tif")
    assert cube["band_name"].values.tolist() == ["red edge", "B8A", "x=1"]
    np.testing.assert_allclose(cube["fwhm_nm"], [10, 20, 30])
    assert cube.attrs == {"ACQUISITION": "2022-06-12"}  # a scale is not applied again by the reader of a copy


@pytest.mark.parametrize(("units", "factor"), [("nm", 1.0), ("um", 1e-3), (None, 1e-3)])
def test_widths_in_the_units_of_their_file(tmp_path, cube, units, factor):
    attrs = {} if units is None else {"units": units}
    dataset = xr.Dataset(
        {"r": (("band", "y", "x"), cube.values)},
        coords={
            "wavelength": ("band", np.array(NM) / 1000, {"units": "um"}),
            "fwhm": ("band", np.array(FWHM) * factor, attrs),
        },
    )
    dataset.to_netcdf(tmp_path / "a.nc", engine="scipy")
    np.testing.assert_allclose(open_cube(tmp_path / "a.nc")["fwhm_nm"], FWHM)


def test_good_wavelengths_of_a_sensor_product(tmp_path, cube):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["reflectance"] = np.moveaxis(cube.values, 0, 2)
        file["sensor_band_parameters/wavelengths"] = np.array(NM)
        file["sensor_band_parameters/good_wavelengths"] = np.array([1.0, 1, 0, 1])
    assert open_cube(tmp_path / "a.nc").attrs["bad_bands"] == [3]


@pytest.mark.parametrize("kind", ["characters", "fixed", "variable", "zarr2"])
def test_names_as_other_programs_store_them(tmp_path, cube, kind):
    plain = xr.Dataset({"r": (("band", "y", "x"), cube.values)}, coords={"band_name": ("band", NAMES)})
    if kind == "characters":
        plain.to_netcdf(tmp_path / "a.nc", engine="scipy")
    elif kind == "zarr2":
        plain.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    else:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["r"] = cube.values
            words = [name.encode() for name in NAMES]
            file["band_name"] = np.array(words) if kind == "fixed" else np.array(words, dtype=h5py.string_dtype())
    assert open_cube(next(tmp_path.iterdir()), bands=4)["band_name"].values.tolist() == NAMES


def test_many_names_that_are_one_long_text_are_not_read(tmp_path, cube):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["r"] = cube.values
        file["band_name"] = np.array(["x" * 500_000] * 4, dtype=h5py.string_dtype())
    assert "band_name" not in open_cube(tmp_path / "a.h5", bands=4).coords


def test_what_a_tiff_cannot_hold_is_named(tmp_path, cube, caplog):
    uneven = cube.drop_vars("spatial_ref").assign_coords(y=np.arange(8.0) ** 2, lat=(("y", "x"), np.zeros((8, 9))))
    save_cube(uneven, tmp_path / "a.tif")
    assert "the coordinates lat, y, x are not written" in caplog.text


def test_the_image_of_a_netcdf_is_upright_for_gdal(tmp_path, cube):
    for given in (cube, cube.drop_vars("spatial_ref")):
        save_cube(given, tmp_path / "a.nc")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(tmp_path / "a.nc") as raster:
                np.testing.assert_array_equal(raster.read(), cube)
                assert raster.transform.almost_equals(Affine(30, 0, 500000, 0, -30, 4649000))
