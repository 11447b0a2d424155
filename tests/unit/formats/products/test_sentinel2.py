"""Sentinel-2 L2A against values worked out by hand and against rasterio."""

import numpy as np
import pytest
import rasterio
from product_files import S2_NM, SENTINEL2, sentinel2_values, sentinel2_xml, write_sentinel2

from hsipipe.errors import FileFormatError
from hsipipe.formats import is_cube, open_cube
from hsipipe.formats.georeference import transform_of

VALUES = sentinel2_values()
FINE = ["B02", "B03", "B04", "B08"]
COARSE = ["B02", "B05", "B8A", "B11"]


def stack(names, size, values=VALUES):
    return np.stack([values[name, size] for name in names]).astype(np.float64)


@pytest.mark.parametrize(("offset", "baseline"), [(-1000, "04.00"), (None, "03.01")])
def test_the_offset_is_that_of_the_metadata(tmp_path, offset, baseline):
    folder = write_sentinel2(tmp_path / SENTINEL2, xml=sentinel2_xml(offset=offset, baseline=baseline))
    cube = open_cube(folder)
    expected = (stack(FINE, 10) + (offset or 0)) / 10000
    np.testing.assert_allclose(cube, expected, rtol=1e-6, atol=1e-7)
    assert cube["band_name"].values.tolist() == FINE
    np.testing.assert_array_equal(cube["wavelength_nm"], [S2_NM[name] for name in FINE])
    np.testing.assert_array_equal(cube["fwhm_nm"], [66, 36, 31, 106])
    assert cube.rio.crs.to_epsg() == 32632
    assert transform_of(cube).to_gdal() == (499_980, 10, 0, 5_200_020, 0, -10)
    assert f"baseline {baseline}" in cube.encoding["applied"][0]


def test_rasterio_gives_the_same_numbers(tmp_path):
    folder = write_sentinel2(tmp_path / SENTINEL2)
    (file,) = folder.rglob("*_B08_10m.jp2")
    with rasterio.open(file) as raster:
        np.testing.assert_allclose(open_cube(folder)[3], (raster.read(1) - 1000.0) / 10000, rtol=1e-6, atol=1e-7)


def test_other_pixel_sizes(tmp_path):
    folder = write_sentinel2(tmp_path / SENTINEL2)
    cube = open_cube(folder, variable="20m")
    np.testing.assert_allclose(cube, (stack(COARSE, 20) - 1000) / 10000, rtol=1e-6, atol=1e-7)
    assert cube["band_name"].values.tolist() == COARSE
    assert transform_of(cube).a == 20
    with pytest.raises(FileFormatError, match="no images of 60m; the product holds the pixel sizes 10m, 20m"):
        open_cube(folder, variable="60m")


@pytest.mark.parametrize("flat", [False, True])
def test_cogs_with_the_metadata_in_their_folder(tmp_path, flat):
    folder = write_sentinel2(tmp_path / "scene", driver="GTiff", flat=flat)
    assert is_cube(folder)
    cube = open_cube(folder)
    assert cube.encoding["format"] == "Sentinel-2 L2A"
    np.testing.assert_allclose(cube, (stack(FINE, 10) - 1000) / 10000, rtol=1e-6, atol=1e-7)


def test_a_scale_of_the_images_themselves_comes_first(tmp_path):
    folder = write_sentinel2(tmp_path / "scene", driver="GTiff")
    for file in folder.rglob("*_10m.tif"):
        with rasterio.open(file, "r+") as raster:
            raster.scales, raster.offsets = (2e-4,), (-0.05,)
    cube = open_cube(folder)
    np.testing.assert_allclose(cube, stack(FINE, 10) * 2e-4 - 0.05, rtol=1e-5)
    assert "stated by the images themselves" in cube.encoding["applied"][0]


def test_the_metadata_file_names_the_product(tmp_path):
    folder = write_sentinel2(tmp_path / SENTINEL2)
    np.testing.assert_array_equal(open_cube(folder / "MTD_MSIL2A.xml"), open_cube(folder))
    assert not is_cube(folder / "MTD_MSIL2A.xml")


def test_no_data_and_saturated_values(tmp_path):
    values = {key: band.copy() for key, band in VALUES.items()}
    for name in FINE:
        values[name, 10][0, 0] = 0
    values["B03", 10][4, 4] = 65535
    folder = write_sentinel2(tmp_path / SENTINEL2, values)
    nan = np.argwhere(np.isnan(open_cube(folder).values)).tolist()
    assert nan == [[0, 0, 0], [1, 0, 0], [1, 4, 4], [2, 0, 0], [3, 0, 0]]
    assert np.isnan(open_cube(folder, masks="fill")).sum() == 4


@pytest.mark.parametrize("variable", ["10m", "20m"])
def test_the_scene_classification(tmp_path, variable):
    scl = np.full((6, 8), 4)
    scl[0] = range(8)  # no data, defective, dark, shadow, vegetation, soil, water, unclassified
    scl[1, :4] = 8, 9, 10, 11  # clouds, cirrus, snow
    folder = write_sentinel2(tmp_path / SENTINEL2, scl=scl)
    times = 2 if variable == "10m" else 1

    def masked(masks):
        nan = np.isnan(open_cube(folder, variable=variable, masks=masks).values)
        assert (nan == nan[0]).all()
        return {(int(y), int(x)) for y, x in np.argwhere(nan[0])}

    def fine(*places):
        return {(times * y + a, times * x + b) for y, x in places for a in range(times) for b in range(times)}

    assert masked("all") == fine((0, 0), (0, 1), (0, 3), (1, 0), (1, 1), (1, 2))
    assert masked("defects") == fine((0, 0), (0, 1))
    assert masked("fill") == fine((0, 0))


def test_widths_are_those_of_the_responses(tmp_path):
    # Triangles with a top of 1: the width at half maximum is half of the base; samples every nm.
    triangle = " ".join(str(1 - abs(n) / 10) for n in range(-10, 11))
    folder = write_sentinel2(tmp_path / SENTINEL2, xml=sentinel2_xml(responses={"B03": triangle}))
    np.testing.assert_allclose(open_cube(folder)["fwhm_nm"], [66, 10, 31, 106])


def test_without_the_metadata_the_offset_is_unknown_and_it_is_no_product(tmp_path):
    folder = write_sentinel2(tmp_path / "scene", driver="GTiff", flat=True)
    (folder / "MTD_MSIL2A.xml").unlink()
    for file in folder.glob("*_20m.tif"):
        file.unlink()
    cube = open_cube(folder)
    assert cube.encoding["format"] == "a folder of band images"
    np.testing.assert_array_equal(cube, stack(FINE, 10))


@pytest.mark.parametrize("has_scale", [True, False])
def test_without_the_metadata_images_of_level_2a_are_a_product_if_they_state_their_scale(tmp_path, has_scale):
    classes = np.full(VALUES["B05", 20].shape, 4)
    classes[0, 0] = 9
    folder = write_sentinel2(tmp_path / "scene", driver="GTiff", flat=True, scl=classes)
    (folder / "MTD_MSIL2A.xml").unlink()
    if not has_scale:
        for file in folder.glob("*_20m.tif"):
            file.unlink()
        np.testing.assert_array_equal(open_cube(folder), stack(FINE, 10))
        return
    for file in folder.glob("*_B*.tif"):
        with rasterio.open(file, "r+") as raster:
            raster.scales, raster.offsets = [1e-4], [-0.1]
    expected = stack(FINE, 10) / 10000 - 0.1
    expected[:, :2, :2] = np.nan
    np.testing.assert_allclose(open_cube(folder), expected, rtol=1e-6, atol=1e-7)


def test_two_tiles_are_refused(tmp_path):
    folder = write_sentinel2(tmp_path / SENTINEL2)
    (file,) = folder.rglob("*_B08_10m.jp2")
    (folder / f"GRANULE/{file.name.replace('T32TNS', 'T32TMS')}").write_bytes(file.read_bytes())
    with pytest.raises(FileFormatError, match="are the same band; open a product of one tile"):
        open_cube(folder)


def test_another_grid_is_refused(tmp_path):
    values = dict(VALUES) | {("B08", 10): VALUES["B08", 10][:4]}
    with pytest.raises(FileFormatError, match=r"B08 has \(4, 16\) pixels .* expected \(12, 16\)"):
        open_cube(write_sentinel2(tmp_path / SENTINEL2, values))


def test_another_level_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="holds <Level-1C_User_Product>, expected <Level-2A_User_Product>"):
        open_cube(write_sentinel2(tmp_path / SENTINEL2, xml=sentinel2_xml(root="Level-1C_User_Product")))


def test_hostile_metadata_are_refused(tmp_path):
    xml = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    with pytest.raises(FileFormatError, match="declares a document type"):
        open_cube(write_sentinel2(tmp_path / SENTINEL2, xml=xml))


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (8, 2**31, "claims .* values"),
        (24, 2**20, "a tile of .* would take"),
        (24, 1, "tiles, expected at most"),
        (8, 0, "describes an image without pixels"),
    ],
)
def test_a_jpeg_2000_that_claims_too_much_is_refused(tmp_path, offset, value, message):
    folder = write_sentinel2(tmp_path / SENTINEL2)
    (file,) = folder.rglob("*_B08_10m.jp2")
    data = bytearray(file.read_bytes())
    siz = data.index(b"\xff\x4f\xff\x51")
    if "tiles" in message:
        data[siz + 8 : siz + 16] = (2**21).to_bytes(4, "big") * 2
    if "tile of" in message:
        data[siz + 8 : siz + 16] = (2**20).to_bytes(4, "big") * 2
    data[siz + offset : siz + offset + 4] = value.to_bytes(4, "big")
    if offset == 24:
        data[siz + 28 : siz + 32] = value.to_bytes(4, "big")
    file.write_bytes(data)
    with pytest.raises(FileFormatError, match=message):
        open_cube(folder)
