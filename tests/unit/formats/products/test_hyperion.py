"""Hyperion L1T against values worked out by hand and against the published tables."""

import numpy as np
import pytest
import rasterio
from product_files import EDGE, HYPERION, HYPERION_BANDS, hyperion_values, write_hyperion

from hsipipe.errors import FileFormatError
from hsipipe.formats import is_cube, open_cube
from hsipipe.formats.georeference import transform_of

VALUES = hyperion_values()
# USGS, EO-1 Hyperion spectral coverage: band -> centre and width in nm.
PUBLISHED = {
    7: (416.64, 11.3871), 8: (426.82, 11.3871), 9: (436.99, 11.3871), 56: (915.23, 11.2756), 57: (925.41, 11.2754),
    70: (1057.68, 11.2754), 71: (851.92, 11.0457), 77: (912.45, 11.0457), 78: (922.54, 11.0457), 79: (932.64, 11.0457),
    224: (2395.50, 10.4077), 225: (2405.60, 10.4077),
}  # fmt: skip
ORDER = sorted(HYPERION_BANDS, key=lambda number: PUBLISHED[number][0])


def radiance(values, order, scale=(40, 80)):
    return np.stack([values[n] / (scale[0] if n <= 70 else scale[1]) for n in order]).astype(np.float32)


def test_radiances_and_bands(tmp_path):
    cube = open_cube(write_hyperion(tmp_path / "a"))
    np.testing.assert_allclose(cube, radiance(VALUES, ORDER), rtol=1e-6)
    np.testing.assert_allclose(cube["wavelength_nm"], [PUBLISHED[n][0] for n in ORDER], atol=0.1)
    np.testing.assert_allclose(cube["fwhm_nm"], [PUBLISHED[n][1] for n in ORDER], atol=0.05)
    assert cube["band_name"].values.tolist() == [f"B{n:03d}" for n in ORDER]
    assert cube["detector"].values.tolist() == ["vnir" if n <= 70 else "swir" for n in ORDER]
    assert cube["good_band"].values.tolist() == [8 <= n <= 57 or 77 <= n <= 224 for n in ORDER]
    assert transform_of(cube) == EDGE
    assert cube.attrs["units"] == "W/(m2 sr um)"
    assert cube.encoding["applied"]


def test_the_factors_are_those_of_the_text(tmp_path):
    text = "  SCALING_FACTOR_VNIR = 50\n  SCALING_FACTOR_SWIR = 100\n"
    cube = open_cube(write_hyperion(tmp_path / "a", text=text))
    np.testing.assert_allclose(cube, radiance(VALUES, ORDER, (50, 100)), rtol=1e-6)


def test_without_a_text_the_usual_factors_are_applied_and_told(tmp_path):
    cube = open_cube(write_hyperion(tmp_path / "a", text=None))
    np.testing.assert_allclose(cube, radiance(VALUES, ORDER), rtol=1e-6)
    assert "the usual factors" in cube.encoding["applied"][0]


def test_0_in_all_calibrated_bands_is_no_data(tmp_path):
    values = {n: band.copy() for n, band in VALUES.items()}
    for band in values.values():
        band[1, 2] = 0
    values[9][3, 3] = 0
    cube = open_cube(write_hyperion(tmp_path / "a", values))
    mask = np.zeros(cube.shape[1:], bool)
    mask[1, 2] = True
    np.testing.assert_array_equal(np.isnan(cube), np.broadcast_to(mask, cube.shape))


@pytest.mark.parametrize(
    ("overlap", "kept"), [("swir", [7, 8, 9, 77, 78, 79, 224, 225]), ("vnir", [7, 8, 9, 56, 57, 79, 224, 225])]
)
def test_the_overlap(tmp_path, overlap, kept):
    cube = open_cube(write_hyperion(tmp_path / "a"), overlap=overlap)
    assert cube["band_name"].values.tolist() == [f"B{n:03d}" for n in kept]
    assert (np.diff(cube["wavelength_nm"]) > 0).all()


def test_rasterio_gives_the_same_numbers(tmp_path):
    folder = write_hyperion(tmp_path / "a")
    with rasterio.open(folder / f"{HYPERION}_B224_L1T.TIF") as raster:
        np.testing.assert_allclose(open_cube(folder)[-2], raster.read(1) / 80, rtol=1e-6)


def test_the_text_names_the_scene_and_a_listing_shows_the_folder(tmp_path):
    folder = write_hyperion(tmp_path / "a")
    text = folder / f"{HYPERION}_MTL_L1T.TXT"
    np.testing.assert_array_equal(open_cube(text), open_cube(folder))
    assert is_cube(folder)
    assert not is_cube(text)


def test_two_scenes_in_a_folder_are_refused(tmp_path):
    folder = write_hyperion(tmp_path / "a")
    (folder / f"{HYPERION}_B009_L1T.TIF").rename(folder / "EO1H0010012001001110KF_B009_L1T.TIF")
    with pytest.raises(FileFormatError, match="different names"):
        open_cube(folder)


def test_a_band_of_another_size_is_refused(tmp_path):
    values = dict(VALUES) | {9: VALUES[9][:3]}
    with pytest.raises(FileFormatError, match=r"B009_L1T\.TIF has the shape \(1, 3, 8\), expected \(1, 6, 8\)"):
        open_cube(write_hyperion(tmp_path / "a", values))


def test_hdf4_is_refused_with_advice(tmp_path):
    (tmp_path / "EO1H1950272012164110KF.L1R").write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    with pytest.raises(FileFormatError, match="HDF4 is not read; order the L1T product, or convert it"):
        open_cube(tmp_path / "EO1H1950272012164110KF.L1R")
