"""Tanager against values worked out by hand."""

import h5py
import numpy as np
import pytest
from product_files import COLUMNS, ROWS, TANAGER_NM, tanager_values, write_tanager

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube
from hsipipe.formats.georeference import transform_of

VALUES = tanager_values()


@pytest.mark.parametrize("facts", ["attributes", "data sets"])
@pytest.mark.parametrize("kind", ["GRIDS", "SWATHS"])
def test_values_and_bands(tmp_path, kind, facts):
    values = VALUES.copy()
    values[:, 2, 3] = -9999
    cube = open_cube(write_tanager(tmp_path / "a.h5", values, kind=kind, facts=facts))
    np.testing.assert_array_equal(cube, np.where(values == -9999, np.nan, values))
    np.testing.assert_array_equal(cube["wavelength_nm"], TANAGER_NM)
    np.testing.assert_allclose(cube["fwhm_nm"], [5.1, 5.2, 5.3, 5.4])
    assert cube["good_band"].values.tolist() == [True, True, False, True]


def test_the_position_of_a_grid_stands_in_a_text(tmp_path):
    cube = open_cube(write_tanager(tmp_path / "a.h5"))
    assert cube.rio.crs.to_epsg() == 32734
    assert transform_of(cube).to_gdal() == pytest.approx((300_000, 30, 0, 6_200_100, 0, -30))


@pytest.mark.parametrize(
    ("change", "epsg"),
    [
        (("ZoneCode=-34", "ZoneCode=34"), 32634),
        (("SphereCode=12", "SphereCode=8"), None),
        (("HE5_GCTP_UTM", "HE5_GCTP_ALBERS"), None),
        (("ZoneCode=-34", "ZoneCode=many"), None),
    ],
)
def test_projections(tmp_path, change, epsg):
    path = write_tanager(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        text = file["HDFEOS INFORMATION/StructMetadata.0"][()].decode().replace(*change)
        del file["HDFEOS INFORMATION/StructMetadata.0"]
        file["HDFEOS INFORMATION/StructMetadata.0"] = text  # of variable length
    cube = open_cube(path)
    assert (cube.rio.crs.to_epsg() if cube.rio.crs else None) == epsg
    assert transform_of(cube).a == 30


def test_geographic_corners_are_packed_degrees(tmp_path):
    path = write_tanager(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        text = file["HDFEOS INFORMATION/StructMetadata.0"][()].decode().replace("HE5_GCTP_UTM", "HE5_GCTP_GEO")
        lines = [line for line in text.split("\n") if "Mtrs" not in line]
        lines.insert(5, "\t\tUpperLeftPointMtrs=(8030000.0,48000000.0)")  # 8 degrees 30 minutes
        lines.insert(6, "\t\tLowerRightMtrs=(9000000.0,47030000.0)")
        del file["HDFEOS INFORMATION/StructMetadata.0"]
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_("\n".join(lines))
    cube = open_cube(path)
    assert cube.rio.crs.to_epsg() == 4326
    assert transform_of(cube).to_gdal() == pytest.approx((8.5, 0.5 / COLUMNS, 0, 48, 0, -0.5 / ROWS))


def test_without_the_text_the_code_of_the_grid_is_used(tmp_path):
    path = write_tanager(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["HDFEOS INFORMATION"]
        file["HDFEOS/GRIDS/HYP"].attrs["epsg_code"] = np.int64(32734)
    cube = open_cube(path)
    assert cube.rio.crs.to_epsg() == 32734
    assert transform_of(cube) is None


def test_a_swath_has_latitudes_and_longitudes(tmp_path):
    cube = open_cube(write_tanager(tmp_path / "a.h5", kind="SWATHS"))
    np.testing.assert_allclose(cube["latitude"][:, 0], np.linspace(-33, -33.1, ROWS))
    np.testing.assert_allclose(cube["longitude"][0], np.linspace(19, 19.1, COLUMNS))


def test_masks(tmp_path):
    layers = {name: np.zeros((ROWS, COLUMNS)) for name in ("nodata_pixels", "beta_cloud_mask", "beta_cirrus_mask")}
    for column, layer in enumerate(layers.values()):
        layer[0, column] = 1
    layers["beta_cloud_mask"][5] = 255  # no statement
    path = write_tanager(tmp_path / "a.h5", layers=layers)
    assert np.argwhere(np.isnan(open_cube(path)[0].values)).tolist() == [[0, 0], [0, 1], [0, 2]]
    assert np.argwhere(np.isnan(open_cube(path, masks="fill")[0].values)).tolist() == [[0, 0]]


def test_micrometres_and_a_packed_cube(tmp_path):
    stored = np.round(VALUES * 10000).astype("i2")
    path = write_tanager(tmp_path / "a.h5", stored)
    with h5py.File(path, "a") as file:
        attrs = file["HDFEOS/GRIDS/HYP/Data Fields/surface_reflectance"].attrs
        attrs["scale_factor"] = 1e-4
        attrs["_FillValue"] = np.int16(-9999)
        for name in ("wavelengths", "fwhm"):
            attrs[name] = attrs[name] / 1000
            attrs[f"{name}_units"] = "um"
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, (stored * 1e-4).astype(np.float32))
    np.testing.assert_allclose(cube["wavelength_nm"], TANAGER_NM, rtol=1e-6)
    np.testing.assert_allclose(cube["fwhm_nm"], [5.1, 5.2, 5.3, 5.4], rtol=1e-6)


def test_radiance_and_missing_optional_parts(tmp_path):
    path = write_tanager(tmp_path / "a.h5", cube="toa_radiance")
    with h5py.File(path, "a") as file:
        attrs = file["HDFEOS/GRIDS/HYP/Data Fields/toa_radiance"].attrs
        for name in ("fwhm", "fwhm_units", "good_wavelengths", "_FillValue", "wavelengths_units"):
            del attrs[name]
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, VALUES)
    np.testing.assert_array_equal(cube["wavelength_nm"], TANAGER_NM)
    assert "fwhm_nm" not in cube.coords
    assert cube["good_band"].values.all()


def test_a_cube_of_another_name_is_read_if_it_is_the_only_one(tmp_path):
    path = write_tanager(tmp_path / "a.h5", cube="ortho_surface_reflectance")
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, VALUES)
    assert cube["good_band"].values.tolist() == [True, True, False, True]
    with h5py.File(path, "a") as file:
        file["HDFEOS/GRIDS/HYP/Data Fields/uncertainty"] = VALUES
    with pytest.raises(FileFormatError, match=r"ortho_surface_reflectance, .*uncertainty"):
        open_cube(path)


def test_bands_may_be_last_and_names_in_capitals(tmp_path):
    path = write_tanager(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        fields = file["HDFEOS/GRIDS/HYP/Data Fields"]
        attrs = dict(fields["surface_reflectance"].attrs)
        del fields["surface_reflectance"]
        values = VALUES.copy()
        values[:, 0, 1] = -9999
        last = fields.create_dataset("surface_reflectance", data=np.moveaxis(values, 0, -1))
        last.attrs["_FillValue"] = attrs["_FillValue"]
        last.attrs["Wavelengths"], fields["FWHM"] = attrs["wavelengths"], attrs["fwhm"]
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, np.where(values == -9999, np.nan, values))
    np.testing.assert_array_equal(cube["wavelength_nm"], TANAGER_NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], attrs["fwhm"])


def test_without_wavelengths_it_is_an_error(tmp_path):
    path = write_tanager(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["HDFEOS/GRIDS/HYP/Data Fields/surface_reflectance"].attrs["wavelengths"]
    with pytest.raises(FileFormatError, match="has no 4 wavelengths"):
        open_cube(path)
