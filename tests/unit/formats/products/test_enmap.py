"""EnMAP L2A against values worked out by hand and against rasterio."""

import numpy as np
import pytest
import rasterio
from product_files import COLUMNS, EDGE, ENMAP, ENMAP_DETECTORS, ENMAP_NM, ROWS, enmap_values, enmap_xml, write_enmap

from hsipipe.errors import FileFormatError
from hsipipe.formats import companions, is_cube, open_cube
from hsipipe.formats.georeference import transform_of

VALUES = enmap_values()


def test_scale_and_offset_of_each_band(tmp_path):
    gains, offsets = (1e-4, 2e-4, 1e-4, 3e-4, 1e-4, 5e-5), (0.0, 0.0, 0.25, 0.0, -0.5, 0.0)
    path = write_enmap(tmp_path / "a", xml=enmap_xml(gains=gains, offsets=offsets))
    expected = VALUES * np.array(gains)[:, None, None] + np.array(offsets)[:, None, None]
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, expected.astype(np.float32))
    np.testing.assert_array_equal(cube["wavelength_nm"], ENMAP_NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], [6.25, 6.5, 6.75, 7.0, 7.25, 7.5])
    assert cube["detector"].values.tolist() == ENMAP_DETECTORS
    assert cube.rio.crs.to_epsg() == 32632
    assert transform_of(cube) == EDGE
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(cube[3], (raster.read(4) * 3e-4).astype(np.float32))
    assert "reflectance_scale_factor" not in cube.attrs


def test_fill_is_nan_with_and_without_a_tag_of_the_tiff(tmp_path):
    values = VALUES.copy()
    values[:, 0, 0] = values[2, 3, 4] = -32768
    for nodata in (-32768, None):
        path = write_enmap(tmp_path / "a", values, nodata=nodata)
        np.testing.assert_array_equal(np.isnan(open_cube(path)), values == -32768)


def test_an_empty_band_and_one_that_was_not_delivered_are_bad(tmp_path):
    path = write_enmap(tmp_path / "a", xml=enmap_xml(empty=(6,), vnir="1,2"))
    cube = open_cube(path)
    assert cube["good_band"].values.tolist() == [True, True, True, False, True, False]
    assert cube.attrs["bad_bands"] == [4, 6]
    # The detector of a band in no list is that of the nearest listed one.
    assert cube["detector"].values.tolist() == ["vnir", "vnir", "swir", "swir", "swir", "swir"]


def test_the_mean_of_an_empty_band_has_two_names(tmp_path):
    xml = enmap_xml(empty=(6,)).replace("<mean>", "<meanReflectance>").replace("</mean>", "</meanReflectance>")
    cube = open_cube(write_enmap(tmp_path / "a", xml=xml))
    assert cube["good_band"].values.tolist() == [True] * 5 + [False]


def test_without_lists_bands_up_to_1000_nm_are_vnir(tmp_path):
    cube = open_cube(write_enmap(tmp_path / "a", xml=enmap_xml(vnir="", swir="")))
    assert cube["detector"].values.tolist() == ["vnir"] * 5 + ["swir"]
    assert cube["good_band"].values.all()


def test_masks(tmp_path):
    layers = {
        name: np.zeros((ROWS, COLUMNS))
        for name in ("QUALITY_CLOUD", "QUALITY_CLOUDSHADOW", "QUALITY_CIRRUS", "QUALITY_CLASSES", "QUALITY_HAZE")
    }
    layers["QUALITY_CLOUD"][0, 1] = layers["QUALITY_CLOUDSHADOW"][0, 2] = layers["QUALITY_HAZE"][0, 6] = 1
    layers["QUALITY_CIRRUS"][0, 3:6] = 1, 2, 3
    layers["QUALITY_CLASSES"][:] = 1
    layers["QUALITY_CLASSES"][5, 0] = 3
    layers["PIXELMASK"] = np.zeros((6, ROWS, COLUMNS))
    layers["PIXELMASK"][2, 3, 3] = 1
    path = write_enmap(tmp_path / "a", layers=layers)

    def masked(masks):
        return {tuple(map(int, place)) for place in np.argwhere(np.isnan(open_cube(path, masks=masks).values))}

    pixels = {"fill": {(5, 0)}, "defects": {(5, 0)}, "all": {(5, 0), (0, 1), (0, 2), (0, 4), (0, 5)}}
    for choice, places in pixels.items():
        expected = {(band, *place) for band in range(6) for place in places}
        assert masked(choice) == expected | (set() if choice == "fill" else {(2, 3, 3)})
    cube = open_cube(path)
    assert float(cube.encoding["masked"]["clouds (QL_QUALITY_CLOUD)"].mean()) == 1 / (ROWS * COLUMNS)
    assert not np.isnan(open_cube(path, masks="fill")[0, 0, 1])
    assert any("not masked by choice: clouds" in told for told in open_cube(path, masks="fill").encoding["applied"])


def test_a_layer_of_another_size_is_ignored_with_a_warning(tmp_path, caplog):
    path = write_enmap(tmp_path / "a", layers={"QUALITY_CLOUD": np.ones((2, 3))})
    assert not np.isnan(open_cube(path)).any()
    assert "QL_QUALITY_CLOUD.TIF is ignored" in caplog.text


@pytest.mark.parametrize(
    ("overlap", "bands"),
    [("keep", [0, 1, 2, 3, 4, 5]), ("swir", [0, 1, 2, 4, 5]), ("vnir", [0, 1, 3, 4, 5])],
)
def test_the_overlap_is_resolved_by_detector(tmp_path, overlap, bands):
    cube = open_cube(write_enmap(tmp_path / "a"), overlap=overlap)
    np.testing.assert_array_equal(cube, (VALUES[bands] * 1e-4).astype(np.float32))
    np.testing.assert_array_equal(cube["wavelength_nm"], np.array(ENMAP_NM)[bands])
    assert cube["detector"].values.tolist() == [ENMAP_DETECTORS[band] for band in bands]
    assert any("overlap from 910 to 920.5 nm" in told for told in cube.encoding["applied"])


def test_the_average_interpolates_vnir_to_the_centres_of_swir(tmp_path):
    cube = open_cube(write_enmap(tmp_path / "a"), overlap="average")
    share = (910.0 - 900.25) / (920.5 - 900.25)
    vnir = VALUES[1] * (1 - share) + VALUES[3] * share
    expected = np.stack([VALUES[0], VALUES[1], (vnir + VALUES[2]) / 2, VALUES[4], VALUES[5]]) * 1e-4
    np.testing.assert_allclose(cube, expected, rtol=1e-6)
    np.testing.assert_array_equal(cube["wavelength_nm"], [500.5, 900.25, 910.0, 930.75, 2400.0])
    assert cube["detector"].values.tolist() == ["vnir", "vnir", "vnir+swir", "swir", "swir"]
    np.testing.assert_allclose(cube["fwhm_nm"][2], (6.75 + 6.5 * (1 - share) + 7.0 * share) / 2)


def test_a_scene_is_found_by_its_metadata_and_by_its_folder(tmp_path):
    path = write_enmap(tmp_path / "a", layers={"QUALITY_CLOUD": np.zeros((ROWS, COLUMNS))})
    xml = path.with_name(f"{ENMAP}METADATA.XML")
    for other in (xml, path.parent):
        np.testing.assert_array_equal(open_cube(other), open_cube(path))
    assert is_cube(path)
    assert is_cube(path.parent)
    assert not is_cube(xml)  # a listing shows the image
    assert len(companions(path)) == 3


def test_names_in_any_case_and_cogs(tmp_path):
    path = write_enmap(
        tmp_path / "a", prefix="enmap01-l2a-x-", suffix="_COG.tiff", tiled=True, blockxsize=16, blockysize=16
    )
    (tmp_path / "a/enmap01-l2a-x-METADATA.XML").rename(tmp_path / "a/ENMAP01-L2A-X-metadata.xml")
    assert open_cube(path).encoding["format"] == "EnMAP L2A"


def test_a_scale_of_the_tiff_is_not_applied_twice(tmp_path):
    path = write_enmap(tmp_path / "a", scale=1e-4)
    np.testing.assert_allclose(open_cube(path), VALUES * 1e-4, rtol=1e-6)
    assert "the scale of the TIFF" in open_cube(path).encoding["applied"][0]


def test_envi_images_are_read_too(tmp_path):
    path = write_enmap(tmp_path / "a")
    path.unlink()
    stem = path.with_suffix("")
    VALUES.tofile(stem.with_suffix(".BSQ"))
    stem.with_suffix(".HDR").write_text(
        f"ENVI\nsamples = {COLUMNS}\nlines = {ROWS}\nbands = 6\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
    )
    cube = open_cube(stem.with_suffix(".BSQ"))
    np.testing.assert_array_equal(cube, (VALUES * 1e-4).astype(np.float32))
    assert cube.encoding["format"] == "EnMAP L2A"


def test_another_level_is_read_as_stored(tmp_path):
    path = write_enmap(tmp_path / "a", prefix="ENMAP01-____L1C-x-", xml=enmap_xml(level="L1C"))
    cube = open_cube(path)
    assert cube.encoding["format"] == "GeoTIFF"
    np.testing.assert_array_equal(cube, VALUES)
    np.testing.assert_array_equal(cube["wavelength_nm"], ENMAP_NM)


def test_metadata_of_other_bands_are_refused(tmp_path):
    xml = enmap_xml(gains=(1e-4,) * 5, offsets=(0,) * 5, nm=ENMAP_NM[:5])
    with pytest.raises(
        FileFormatError, match=r"describes the bands 1 to 5 \(5\), the image has 6; copy the scene again"
    ):
        open_cube(write_enmap(tmp_path / "a", xml=xml))


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]><level_X>&b;</level_X>', "declares a document type"),
        (enmap_xml()[:500], "not well-formed XML"),
        (enmap_xml().replace("wavelengthCenterOfBand", "other"), "give no wavelengths; copy it again"),
    ],
)
def test_damaged_metadata_are_refused_since_they_hold_the_scale(tmp_path, xml, message):
    with pytest.raises(FileFormatError, match=message):
        open_cube(write_enmap(tmp_path / "a", xml=xml))
