import numpy as np
import pytest
import tifffile
from affine import Affine
from PIL import Image

from hsipipe.errors import FileFormatError
from hsipipe.formats import companions, is_cube, open_cube
from hsipipe.formats.rasters import open_raster


@pytest.fixture
def write_bands(tmp_path):
    """Writes (band, y, x) as images of a folder, ``form`` naming each band."""

    def write(values, form="band_{}.png", numbers=None):
        folder = tmp_path / "cube"
        folder.mkdir()
        for number, band in zip(numbers or range(1, len(values) + 1), values, strict=True):
            Image.fromarray(band).save(folder / form.format(number))
        return folder

    return write


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_bands_come_in_the_order_of_their_numbers_scaled_by_their_depth(write_bands, kind):
    full = np.iinfo(kind).max
    values = np.random.default_rng(0).integers(0, full + 1, size=(12, 8, 9)).astype(kind)
    folder = write_bands(values, "scene2_band_{}.png")
    (folder / "preview.png").write_bytes(b"junk")
    (folder / "._scene2_band_3.png").write_bytes(b"junk")
    cube = open_cube(folder)
    assert (cube.dims, cube.dtype, cube.encoding["stored_dtype"]) == (("band", "y", "x"), np.float32, kind)
    assert cube.chunks is not None
    np.testing.assert_array_equal(cube, (values / full).astype(np.float32))
    np.testing.assert_array_equal(cube[9, 2:4], cube.values[9, 2:4])
    assert is_cube(folder)
    assert len(companions(folder)) == 13


def test_names_may_say_the_wavelengths(write_bands):
    values = np.random.default_rng(0).integers(0, 255, size=(3, 8, 9)).astype(np.uint8)
    cube = open_cube(write_bands(values, "leaf_{}nm.png", [400, 410, 425]))
    np.testing.assert_array_equal(cube["wavelength_nm"], [400, 410, 425])


def test_tiff_bands_come_as_stored(write_bands):
    values = np.random.default_rng(0).random((3, 8, 9), dtype=np.float32)
    np.testing.assert_array_equal(open_cube(write_bands(values, "b{:02d}.tif")), values)


def test_tiff_bands_keep_their_position(tmp_path):
    values = np.random.default_rng(0).integers(0, 5000, size=(3, 8, 9)).astype(np.uint16)
    for number, band in enumerate(values):
        path = str(tmp_path / f"x_{number}.tif")
        profile = {"count": 1, "height": 8, "width": 9, "dtype": "uint16", "crs": 32632}
        with open_raster(path, driver="GTiff", transform=Affine(4, 0, 7, 0, -4, 9), **profile) as raster:
            raster.write(band, 1)
    cube = open_cube(tmp_path)
    np.testing.assert_array_equal(cube, values)
    assert cube.rio.crs.to_epsg() == 32632
    assert float(cube["x"][0]) == 9
    tifffile.imwrite(tmp_path / "x_2.tif", values[2])
    with pytest.raises(FileFormatError, match=r"x_2\.tif has 1 bands of \(8, 9\) pixels, expected one at the position"):
        open_cube(tmp_path)


def test_several_cubes_in_a_folder_are_no_bands(tmp_path):
    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"scene_{number}.tif", np.zeros((5, 8, 9), np.float32), photometric="minisblack")
    assert not is_cube(tmp_path)
    with pytest.raises(FileFormatError, match="holds neither a Zarr store nor bands as images"):
        open_cube(tmp_path)


def test_pictures_are_no_bands(write_bands):
    assert not is_cube(write_bands(np.zeros((3, 8, 9, 3), np.uint8), "IMG_{}.png"))


def test_a_missing_band_is_named(write_bands):
    folder = write_bands(np.zeros((5, 8, 9), np.uint8))
    (folder / "band_3.png").unlink()
    with pytest.raises(FileFormatError, match=r"cube: the bands 3 are missing; copy the folder again"):
        open_cube(folder)
    assert not is_cube(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("band_03.png", r"band_03\.png and band_3\.png are the same band; keep one of them"),
        ("other_1.png", r"images with different names \(band_1\.png, other_1\.png\), expected the bands of one cube"),
    ],
)
def test_bands_that_do_not_belong_together(write_bands, name, message):
    folder = write_bands(np.zeros((5, 8, 9), np.uint8))
    (folder / name).write_bytes((folder / "band_1.png").read_bytes())
    with pytest.raises(FileFormatError, match=message):
        open_cube(folder)


@pytest.mark.parametrize(
    ("band", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"band_3\.png has \(4, 4\) pixels of mode L, the first band \(8, 9\) of L"),
        (np.zeros((8, 9), np.uint16), r"band_3\.png has \(8, 9\) pixels of mode I;16, the first band \(8, 9\) of L"),
        (np.zeros((8, 9, 3), np.uint8), r"band_3\.png is a PNG of mode RGB, expected grey of 8 or 16 bit"),
    ],
)
def test_a_band_of_another_kind_is_named(write_bands, band, message):
    folder = write_bands(np.zeros((5, 8, 9), np.uint8))
    Image.fromarray(band).save(folder / "band_3.png")
    with pytest.raises(FileFormatError, match=message):
        open_cube(folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_tiff_band_is_named_when_the_folder_is_opened(write_bands, share):
    values = np.random.default_rng(0).integers(0, 65535, size=(4, 40, 50)).astype(np.uint16)
    folder = write_bands(values, "band_{}.tif")
    file = folder / "band_3.tif"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(FileFormatError, match=r"cube: band_3\.tif .*(truncated|incomplete|cannot be read)") as caught:
        open_cube(folder)
    assert "\n" not in str(caught.value)
