"""PRISMA L2D against values worked out by hand."""

import h5py
import numpy as np
import pytest
from product_files import COLUMNS, PRISMA_SCALE, ROWS, prisma_values, write_prisma

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube
from hsipipe.formats.georeference import transform_of

VALUES = prisma_values()
# Bands of (detector, place in the file) by ascending wavelength.
ORDER = [("Vnir", 3), ("Vnir", 2), ("Swir", 5), ("Swir", 4), ("Vnir", 1), ("Swir", 3), ("Vnir", 0), ("Swir", 2),
         ("Swir", 1)]  # fmt: skip
NM = [410.0, 500.25, 925.0, 930.0, 940.5, 950.0, 960.0, 1600.5, 2490.0]


def reflectance(values, key, band):
    low, high = map(float, map(np.float32, PRISMA_SCALE[key]))
    return (low + values[key][:, band].astype(np.float64) / 65535 * (high - low)).astype(np.float32)


def expected(values, order=ORDER):
    return np.stack([reflectance(values, key, band) for key, band in order])


def test_reflectances_by_ascending_wavelength(tmp_path):
    cube = open_cube(write_prisma(tmp_path / "a.he5"))
    np.testing.assert_allclose(cube, expected(VALUES), rtol=1e-6)
    np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], [10 + band / 4 for _, band in ORDER])
    assert cube["detector"].values.tolist() == [key.lower() for key, _ in ORDER]
    assert cube["good_band"].values.all()


def test_0_in_all_bands_is_no_data_and_0_in_some_is_a_value(tmp_path):
    values = prisma_values()
    for key in values:
        values[key][2, :, 3] = 0
    values["Vnir"][4, :, 5] = 0
    cube = open_cube(write_prisma(tmp_path / "a.he5", values))
    mask = np.zeros((9, ROWS, COLUMNS), bool)
    mask[:, 2, 3] = True
    np.testing.assert_array_equal(np.isnan(cube), mask)
    np.testing.assert_allclose(cube.values[~mask], expected(values)[~mask], rtol=1e-6)
    assert float(cube[0, 4, 5]) == np.float32(PRISMA_SCALE["Vnir"][0])


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_wrong_values_are_nan_unless_only_fill_is_masked(tmp_path, code):
    errors = {"Swir": np.zeros(VALUES["Swir"].shape, "u1")}
    errors["Swir"][1, 4, 6] = code  # 930 nm
    path = write_prisma(tmp_path / "a.he5", errors=errors)
    assert np.argwhere(np.isnan(open_cube(path).values)).tolist() == [[3, 1, 6]]
    assert not np.isnan(open_cube(path, masks="fill")).any()


@pytest.mark.parametrize("corners", ["centres", "edges"])
def test_the_corners_are_centres_or_edges_by_the_size_of_a_pixel(tmp_path, corners):
    cube = open_cube(write_prisma(tmp_path / "a.he5", corners=corners))
    assert cube.rio.crs.to_epsg() == 32632
    assert transform_of(cube).to_gdal() == pytest.approx((600_000, 30, 0, 5_300_000, 0, -30))
    np.testing.assert_allclose(cube["x"][:2], [600_015, 600_045])
    assert any("corner attributes are taken as" in told for told in cube.encoding["applied"])


@pytest.mark.parametrize(
    ("overlap", "kept"),
    [
        ("swir", ["v410", "v500", "s925", "s930", "s950", "s1600", "s2490"]),
        ("vnir", ["v410", "v500", "v940", "v960", "s1600", "s2490"]),
        ("average", ["v410", "v500", "b925", "b930", "b950", "s1600", "s2490"]),
    ],
)
def test_the_overlap(tmp_path, overlap, kept):
    cube = open_cube(write_prisma(tmp_path / "a.he5"), overlap=overlap)
    short = {"vnir": "v", "swir": "s", "vnir+swir": "b"}
    got = [f"{short[d]}{int(nm)}" for d, nm in zip(cube["detector"].values, cube["wavelength_nm"].values, strict=True)]
    assert got == kept
    assert np.isfinite(cube).all()


def test_the_average_of_both_detectors(tmp_path):
    cube = open_cube(write_prisma(tmp_path / "a.he5"), overlap="average")
    share = (950 - 940.5) / (960 - 940.5)
    vnir = reflectance(VALUES, "Vnir", 1) * (1 - share) + reflectance(VALUES, "Vnir", 0) * share
    np.testing.assert_allclose(cube[4], (vnir + reflectance(VALUES, "Swir", 3)) / 2, rtol=1e-6)


def test_one_detector(tmp_path):
    cube = open_cube(write_prisma(tmp_path / "a.he5"), variable="VNIR_Cube")
    np.testing.assert_allclose(cube, expected(VALUES, [("Vnir", n) for n in (3, 2, 1, 0)]), rtol=1e-6)


def test_optional_parts_may_be_missing(tmp_path):
    drop = ["Epsg_Code", "List_Fwhm_Vnir", "Product_LRcorner_easting"]
    path = write_prisma(tmp_path / "a.he5", flags=False, drop=drop)
    with h5py.File(path, "a") as file:
        del file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/VNIR_PIXEL_L2_ERR_MATRIX"]
        del file["HDFEOS/SWATHS/PRS_L2D_HCO/Geolocation Fields"]
    cube = open_cube(path)
    np.testing.assert_allclose(cube, expected(VALUES), rtol=1e-6)
    assert "fwhm_nm" not in cube.coords


def test_bands_without_calibration_are_bad(tmp_path):
    path = write_prisma(tmp_path / "a.he5")
    with h5py.File(path, "a") as file:
        file.attrs["List_Cw_Swir_Flags"] = np.array([0, 1, 1, 1, 0, 1], "u1")
    assert open_cube(path).attrs["bad_bands"] == [4]  # 930 nm


@pytest.mark.parametrize("level", ["L1", "L2B", "L2C"])
def test_an_image_of_the_sensor_is_refused_with_advice(tmp_path, level):
    path = write_prisma(tmp_path / "a.he5", level=level)
    with pytest.raises(
        FileFormatError, match=rf"level {level} of PRISMA .*order the L2D product, or open one detector"
    ):
        open_cube(path)
    assert open_cube(path, variable="VNIR_Cube", bands=5).shape[0] == 5  # as it is stored


def test_a_missing_scale_is_named(tmp_path):
    with pytest.raises(FileFormatError, match="L2ScaleSwirMax is None, expected a number"):
        open_cube(write_prisma(tmp_path / "a.he5", drop=["L2ScaleSwirMax"]))
    with pytest.raises(FileFormatError, match="List_Cw_Vnir does not list 5 wavelengths"):
        open_cube(write_prisma(tmp_path / "b.he5", drop=["List_Cw_Vnir"]))
