"""Wavelengths, widths and bad bands that stand next to a TIFF."""

import shutil

import numpy as np
import pytest
import rasterio

from hsipipe.datasets.base import copies
from hsipipe.formats import companions, is_cube, open_cube

NM = [450.0, 550.0, 650.0, 750.0]
VALUES = np.random.default_rng(0).integers(1, 99, (4, 8, 9)).astype("i2")
HEADER = (
    "ENVI\nfile type = TIFF\nsamples = 9\nlines = 8\nbands = 4\ndata type = 2\nbyte order = 0\ninterleave = bsq\n"
    "wavelength units = Nanometers\nwavelength = {450, 550, 650, 750}\nfwhm = {9, 10, 11, 12}\nbbl = {1,1,0,1}\n"
)


def write_tiff(path, values=VALUES, **profile):
    bands, height, width = values.shape
    options = {"count": bands, "height": height, "width": width, "dtype": values.dtype.name, "crs": 32632} | profile
    with rasterio.open(path, "w", "GTiff", transform=rasterio.Affine(30, 0, 0, 0, -30, 0), **options) as raster:
        raster.write(values)
    return path


def write_xml(path, *, bands=range(1, 5), gain=0.0001, statistics=""):
    rows = "".join(
        f'<bandID number="{n}"><wavelengthCenterOfBand>{NM[n - 1]}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{8 + n}</FWHMOfBand><GainOfBand>{gain}</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for n in bands
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><level_X xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<product><bandStatistics>{statistics}</bandStatistics></product>"
        f"<specific><bandCharacterisation>{rows}</bandCharacterisation></specific></level_X>"
    )


@pytest.mark.parametrize("header", ["s.hdr", "s.tif.hdr", "s.HDR"])
def test_the_header_of_envi(tmp_path, header):
    path = write_tiff(tmp_path / "s.tif")
    (tmp_path / header).write_text(HEADER)
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, VALUES)
    np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], [9, 10, 11, 12])
    assert cube.attrs["bad_bands"] == [3]
    assert companions(path) == sorted([path, tmp_path / header])
    assert [file for file in tmp_path.iterdir() if is_cube(file)] == [path]


def test_a_value_that_the_header_marks_is_nan_where_the_tiff_marks_none(tmp_path):
    path = write_tiff(tmp_path / "s.tif")
    (tmp_path / "s.hdr").write_text(HEADER + f"data ignore value = {VALUES[1, 2, 3]}\n")
    np.testing.assert_array_equal(np.isnan(open_cube(path).values), VALUES == VALUES[1, 2, 3])
    write_tiff(path, nodata=-1)
    assert not np.isnan(open_cube(path).values).any()


def test_the_tags_of_the_tiff_come_first(tmp_path):
    path = write_tiff(tmp_path / "s.tif")
    with rasterio.open(path, "r+") as raster:
        for band in range(1, 5):
            raster.update_tags(band, wavelength=str(band / 10), wavelength_units="um", fwhm="0.01")
    (tmp_path / "s.hdr").write_text(HEADER)
    cube = open_cube(path)
    np.testing.assert_allclose(cube["wavelength_nm"], [100, 200, 300, 400])
    np.testing.assert_allclose(cube["fwhm_nm"], 10)


def test_the_header_of_another_file_is_not_read(tmp_path, caplog):
    path = write_tiff(tmp_path / "s.tif")
    VALUES.tofile(tmp_path / "s.dat")
    (tmp_path / "s.hdr").write_text(HEADER.replace("TIFF", "ENVI Standard"))
    assert "wavelength_nm" not in open_cube(path).coords
    (tmp_path / "s.dat").unlink()
    (tmp_path / "s.hdr").write_text(HEADER.replace("lines = 8", "lines = 7"))
    assert "wavelength_nm" not in open_cube(path).coords
    assert "it describes (4, 7, 9) bands, lines and samples, the TIFF has (4, 8, 9)" in caplog.text


def test_a_damaged_header_costs_its_facts_alone(tmp_path, caplog):
    path = write_tiff(tmp_path / "s.tif")
    (tmp_path / "s.hdr").write_text(HEADER.replace("samples = 9", "samples = many"))
    np.testing.assert_array_equal(open_cube(path), VALUES)
    assert "samples is 'many'" in caplog.text


@pytest.mark.parametrize(
    ("image", "metadata"),
    [
        ("ENMAP01-SPECTRAL_IMAGE.TIF", "ENMAP01-METADATA.XML"),
        ("ENMAP01-L2A-x-SPECTRAL_IMAGE_part.tiff", "ENMAP01-L2A-x-metadata.xml"),
    ],
)
def test_the_metadata_of_enmap(tmp_path, image, metadata):
    values = VALUES.copy()
    values[0, 0, 0] = -32768
    path = write_tiff(tmp_path / image, values)
    empty = '<bandID number="2"><mean>-1000000</mean><stdDeviation>0</stdDeviation></bandID>'
    write_xml(
        tmp_path / metadata,
        statistics=empty + '<bandID number="1"><mean>5</mean><stdDeviation>0</stdDeviation></bandID>',
    )
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, np.where(values == -32768, np.nan, values))
    np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], [9, 10, 11, 12])
    assert cube.attrs["bad_bands"] == [2]
    assert cube.attrs.get("reflectance_scale_factor") == (10_000 if "L2A" in metadata else None)
    assert tmp_path / metadata in companions(path)


def test_the_metadata_keeps_its_name_where_a_scene_is_copied(tmp_path):
    path = write_tiff(tmp_path / "ENMAP01-SPECTRAL_IMAGE.TIF")
    write_xml(tmp_path / "ENMAP01-METADATA.XML")
    (tmp_path / "copy").mkdir()
    for target, source in copies(path, path.name).items():
        shutil.copy(source, tmp_path / "copy" / target)
    np.testing.assert_array_equal(open_cube(tmp_path / "copy" / path.name)["wavelength_nm"], NM)


def test_bands_of_the_metadata_are_ordered_by_their_numbers(tmp_path):
    path = write_tiff(tmp_path / "E-SPECTRAL_IMAGE.TIF")
    write_xml(tmp_path / "E-METADATA.XML", bands=[3, 1, 4, 2])
    np.testing.assert_array_equal(open_cube(path)["wavelength_nm"], NM)


def test_the_metadata_of_desis(tmp_path):
    path = write_tiff(tmp_path / "DESIS-HSI-L2A-SPECTRAL_IMAGE_part.tif")
    rows = "".join(
        f"<band><bandNumber>{n}</bandNumber><wavelengthCenterOfBand>{nm}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>3.5</wavelengthWidthOfBand><response>0.1,0.9</response>"
        f"<wavelengths>{nm - 2},{nm + 2}</wavelengths><gainOfBand>0.0001</gainOfBand><offsetOfBand>0</offsetOfBand>"
        "</band>"
        for n, nm in enumerate(NM, start=1)
    )
    geometry = "<interiorOrientation><band><bandNumber>1</bandNumber></band></interiorOrientation>"
    text = f"<hsi_doc><specific>{geometry}<bandCharacterisation>{rows}</bandCharacterisation></specific></hsi_doc>"
    (tmp_path / "DESIS-HSI-L2A-METADATA.xml").write_text(text)
    cube = open_cube(path)
    np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    np.testing.assert_array_equal(cube["fwhm_nm"], 3.5)
    assert cube.attrs["reflectance_scale_factor"] == 10_000


@pytest.mark.parametrize("text", ["", "<a>", "<!DOCTYPE a><a/>", "<level_X/>"])
def test_odd_metadata_is_told_and_the_values_are_read(tmp_path, caplog, text):
    path = write_tiff(tmp_path / "E-SPECTRAL_IMAGE.TIF")
    (tmp_path / "E-METADATA.XML").write_text(text)
    np.testing.assert_array_equal(open_cube(path), VALUES)
    assert "E-METADATA.XML is ignored: " in caplog.text


def test_metadata_of_another_number_of_bands_is_told(tmp_path, caplog):
    path = write_tiff(tmp_path / "E-SPECTRAL_IMAGE.TIF")
    write_xml(tmp_path / "E-METADATA.XML", bands=[1, 2, 3])
    assert "wavelength_nm" not in open_cube(path).coords
    assert "it describes 3 bands, expected 1 to 4" in caplog.text
