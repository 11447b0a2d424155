"""The order of the bands in folders of single-band images, by the names that publishers give them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hsipipe.errors import FileFormatError
from hsipipe.formats import is_cube, open_cube
from hsipipe.formats.band_names import order_bands

SENTINEL = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]


@pytest.fixture
def write(tmp_path):
    """Writes an image for each name, in a shuffled order, with the number of its place as its value."""

    def make(names, shape=(8, 9)):
        folder = tmp_path / "scene"
        folder.mkdir()
        for place in np.random.default_rng(0).permutation(len(names)):
            tifffile.imwrite(
                folder / names[place], np.full(shape, place, "i2"), photometric="minisblack", metadata=None
            )
        return folder

    return make


@pytest.mark.parametrize(
    "names",
    [
        [f"T32TNS_20220612T101559_{b}_10m.tif" for b in ("B02", "B03", "B04", "B08")],
        [f"T32TNS_20220612T101559_{b}_20m.tif" for b in SENTINEL[1:7] + SENTINEL[8:9] + SENTINEL[10:]],
        [f"T32TNS_20220612T101559_{b}.tif" for b in SENTINEL],
        [f"S2A_MSIL2A_20220612T101559_{b}.tif" for b in ("B02", "B8A", "B12")],
        [f"{b}.tif" for b in ("B07", "B08", "B8A", "B09")],
        [f"LC08_L1TP_195027_20220612_20220620_02_T1_B{b}.TIF" for b in (1, 2, 3, 4, 5, 6, 7, 9, 10)],
        [f"scene2_band_{b}_v3.tif" for b in range(1, 13)],
        [f"b{b}.tif" for b in range(12)],
        [f"2022-06-12_{b:02d}_{400 + 10 * b}nm.tif" for b in range(12)],
        [f"band_{b}_{700 + b}nm_x1.tif" for b in range(1, 12)],
        [f"band_{b}_{700 - b}nm_x1.tif" for b in range(1, 12)],
        [f"frame_20220612T1015{b:02d}_band{b}.tif" for b in range(1, 12)],
    ],
)
def test_bands_come_in_the_order_of_their_publisher(write, names):
    folder = write(names)
    assert is_cube(folder)
    assert open_cube(folder).values[:, 0, 0].tolist() == list(range(len(names)))


@pytest.mark.parametrize("numbers", [range(1, 243), [*range(8, 58), *range(77, 225)]])
def test_all_bands_of_hyperion_and_the_calibrated_ones(numbers):
    paths = [Path(f"EO1H1480452014085110KF_B{number:03d}_L1T.TIF") for number in numbers]
    assert [band.path for band in order_bands(paths[::-1])] == paths


def test_layers_that_are_no_bands_are_skipped(write, tmp_path):
    folder = write([f"T32TNS_20220612T101559_{b}_20m.tif" for b in ("B02", "B03", "B8A")])
    for layer in ("SCL", "AOT", "WVP", "MSK_CLDPRB"):
        tifffile.imwrite(folder / f"T32TNS_20220612T101559_{layer}_20m.tif", np.zeros((8, 9), "u1"))
    assert open_cube(folder).values[:, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("form", "ends"),
    [("x_{}nm.tif", (450, 550, 650)), ("x_{}-{}nm.tif", (450, 550, 650)), ("{}nm_x_2.tif", (500, 400))],
)
def test_wavelengths_in_names(write, form, ends):
    names = [form.format(nm, nm + 10) for nm in ends]
    cube = open_cube(write(names))
    shift = 5 if "-" in form else 0
    np.testing.assert_array_equal(cube["wavelength_nm"], np.sort(ends) + shift)


def test_wavelengths_in_the_tags_of_each_image(tmp_path):
    for number, nm in enumerate((450, 550, 650), start=1):
        profile = {"count": 1, "height": 8, "width": 9, "dtype": "int16", "crs": 32632}
        path = tmp_path / f"b{number}.tif"
        with rasterio.open(path, "w", "GTiff", transform=rasterio.Affine(4, 0, 7, 0, -4, 9), **profile) as raster:
            raster.write(np.full((1, 8, 9), number, "i2"))
            raster.update_tags(1, wavelength=str(nm), wavelength_units="nm")
    cube = open_cube(tmp_path)
    np.testing.assert_array_equal(cube["wavelength_nm"], [450, 550, 650])
    assert cube.rio.crs.to_epsg() == 32632


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["EO1A148_B010_L1T.TIF", "EO1A148_B012_L1T.TIF"], "the bands 11 are missing"),
        (["x_1.tif", "x_2.tif", "x_5.tif"], "the bands 3, 4 are missing"),
        (["450.tif", "460.tif"], "or write nm after a wavelength"),
        (["x_1.tif", "x_99999999999999999999.tif"], "the bands 2, 3, 4, 5, 6, 7, 8, 9 are missing"),
        (["x_1.tif", f"x_{'9' * 200}.tif"], "the bands 2, 3, 4, 5, 6, 7, 8, 9 are missing"),
        (["a1_b1.tif", "a1_b2.tif", "a2_b1.tif", "a2_b2.tif"], r"different names \(a1_b1\.tif, a2_b1\.tif\)"),
        (["x_1.tif", "x_2.tif", "y_1.tif"], r"different names \(x_1\.tif, y_1\.tif\)"),
        (["x1_450nm.tif", "x2_440nm.tif"], r"different names \(x1_450nm\.tif, x2_440nm\.tif\)"),
        (["a1_b1.tif", "a1_b2.tif", "a2_b3.tif"], r"different names \(a1_b1\.tif, a1_b2\.tif, a2_b3\.tif\)"),
        (["x_1.tif", "x_01.tif"], r"x_01\.tif and x_1\.tif are the same band"),
    ],
)
def test_what_is_not_one_cube_is_an_error_that_names_files_that_exist(write, names, message):
    folder = write(names)
    with pytest.raises(FileFormatError, match=message):
        open_cube(folder)


@given(st.data())
def test_the_number_that_differs_orders_the_bands(data):
    text = st.text(alphabet="abcxyz_-L1T2", max_size=6)
    before, after = data.draw(text).rstrip("0123456789-"), data.draw(text).lstrip("0123456789")
    first, count = data.draw(st.integers(0, 200)), data.draw(st.integers(2, 30))
    width = data.draw(st.sampled_from([1, 3, 5]))
    paths = [Path(f"{before}b{number:0{width}d}_{after}.tif") for number in range(first, first + count)]
    shuffled = data.draw(st.permutations(paths))
    assert [band.path for band in order_bands(shuffled)] == paths


def test_what_alpha_hides_in_a_png_is_nan(tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (3, 8, 9)).astype("u1")
    alpha = np.where(np.eye(8, 9) > 0, 0, 255).astype("u1")
    for number, band in enumerate(values, start=1):
        Image.fromarray(np.stack([band, alpha], axis=-1), "LA").save(tmp_path / f"b_{number}.png")
    cube = open_cube(tmp_path)
    np.testing.assert_array_equal(cube, np.where(alpha == 0, np.nan, (values / 255).astype("f4")))
