"""The header of an ENVI data file: GDAL's rule, or an error."""

import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from hsipipe.errors import FileFormatError
from hsipipe.formats import companions, is_cube, open_cube

HEADER = "ENVI\nsamples = 5\nlines = 4\nbands = 3\nheader offset = 0\nbyte order = 0\n"
RAW = np.arange(60, dtype="<u2").reshape(4, 5, 3)
REFLECTANCE = (np.arange(60).reshape(3, 4, 5) / 100).astype("<f4")
BIP, BSQ = HEADER + "data type = 12\ninterleave = bip\n", HEADER + "data type = 4\ninterleave = bsq\n"


def test_two_files_of_one_name_with_a_header_each(tmp_path):
    RAW.tofile(tmp_path / "scene.raw")
    REFLECTANCE.tofile(tmp_path / "scene.dat")
    (tmp_path / "scene.hdr").write_text(BIP)
    (tmp_path / "scene.dat.hdr").write_text(BSQ)
    for name in ("scene.dat", "scene.dat.hdr"):
        np.testing.assert_array_equal(open_cube(tmp_path / name), REFLECTANCE)
        assert [path.name for path in companions(tmp_path / name)] == ["scene.dat", "scene.dat.hdr"]
    for name in ("scene.raw", "scene.hdr"):
        np.testing.assert_array_equal(open_cube(tmp_path / name), np.moveaxis(RAW, 2, 0))
        assert [path.name for path in companions(tmp_path / name)] == ["scene.hdr", "scene.raw"]
    assert sorted(path.name for path in tmp_path.iterdir() if is_cube(path)) == ["scene.dat.hdr", "scene.hdr"]


@pytest.mark.parametrize("opened", ["scene.hdr", "scene.dat", "scene.img"])
def test_a_header_that_may_describe_two_files_is_an_error_that_says_how_to_name_it(tmp_path, opened):
    for name in ("scene.dat", "scene.img"):
        REFLECTANCE.tofile(tmp_path / name)
    (tmp_path / "scene.hdr").write_text(BSQ)
    with pytest.raises(FileFormatError, match=r"scene\.hdr may describe scene\.dat or scene\.img; rename it after the"):
        open_cube(tmp_path / opened)
    (tmp_path / "scene.hdr").rename(tmp_path / "scene.dat.hdr")
    np.testing.assert_array_equal(open_cube(tmp_path / "scene.dat"), REFLECTANCE)


def test_next_to_a_file_without_an_extension_the_proposed_name_is_another_one(tmp_path):
    for name in ("scene", "scene.img"):
        REFLECTANCE.tofile(tmp_path / name)
    (tmp_path / "scene.hdr").write_text(BSQ)
    with pytest.raises(FileFormatError, match=r"that it describes, scene\.img\.hdr"):
        open_cube(tmp_path / "scene.hdr")
    (tmp_path / "scene.hdr").rename(tmp_path / "scene.img.hdr")
    np.testing.assert_array_equal(open_cube(tmp_path / "scene.img"), REFLECTANCE)


def test_a_file_that_is_too_short_for_the_header_is_not_described_by_it(tmp_path):
    REFLECTANCE.tofile(tmp_path / "scene.img")
    (tmp_path / "scene.dat").write_text("a table")
    (tmp_path / "scene.hdr").write_text(BSQ)
    np.testing.assert_array_equal(open_cube(tmp_path / "scene.hdr"), REFLECTANCE)
    np.testing.assert_array_equal(open_cube(tmp_path / "scene.img"), REFLECTANCE)
    with pytest.raises(FileFormatError, match=r"scene\.hdr may describe scene\.img; rename it"):
        open_cube(tmp_path / "scene.dat")


def test_headers_that_differ_in_capitals_alone(tmp_path):
    REFLECTANCE.tofile(tmp_path / "scene.img")
    (tmp_path / "scene.hdr").write_text(BSQ)
    (tmp_path / "scene.HDR").write_text(BIP)
    if (tmp_path / "scene.hdr").read_text() == BSQ:  # the disk tells capitals apart
        with pytest.raises(FileFormatError, match=r"scene\.img has two headers, scene\.hdr and scene\.HDR"):
            open_cube(tmp_path / "scene.img")


@pytest.mark.parametrize("name", ["a.hyspex", "a.rad", "a.hsi", "a.v2.xyz", "a"])
def test_data_of_any_suffix_is_found_by_its_header(tmp_path, name):
    REFLECTANCE.tofile(tmp_path / name)
    header = (tmp_path / name).with_suffix(".hdr")
    header.write_text(BSQ)
    for other in ("a.txt", "a.v2.txt", "a.png", "a.md"):
        (tmp_path / other).write_text("no data" * 100)
    (tmp_path / "a.xml0").write_text("short")
    np.testing.assert_array_equal(open_cube(header), REFLECTANCE)
    assert is_cube(header)


@pytest.mark.parametrize("suffix", [".sli", ".dat"])
def test_a_spectral_library_is_told_for_what_it_is(tmp_path, suffix):
    REFLECTANCE[0].tofile(tmp_path / f"lib{suffix}")
    header = BSQ.replace("bands = 3", "bands = 1") + "file type = ENVI Spectral Library\n"
    (tmp_path / "lib.hdr").write_text(header)
    for name in ("lib.hdr", f"lib{suffix}"):
        with pytest.raises(FileFormatError, match="no image but a spectral library, of 4 spectra with 5 wavelengths"):
            open_cube(tmp_path / name)


NAMES = ["scene", "scene.dat", "scene.img", "scene.v2.dat"]


@settings(max_examples=60, deadline=None)
@given(
    data=st.sets(st.sampled_from(NAMES), min_size=1), headers=st.sets(st.sampled_from([*NAMES, "scene.v2"]), min_size=1)
)
def test_every_folder_is_read_by_the_rule_of_gdal_or_refused(tmp_path_factory, data, headers):
    folder = tmp_path_factory.mktemp("envi")
    for name in data:
        np.arange(60, dtype="<f4").tofile(folder / name)
    for number, name in enumerate(sorted(headers)):
        interleave = ("bsq", "bil", "bip")[number % 3]
        (folder / f"{name}.hdr").write_text(HEADER + f"data type = 4\ninterleave = {interleave}\n")
    for name in data:
        try:
            ours = open_cube(folder / name)
        except FileFormatError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(folder / name, driver="ENVI") as raster:
                np.testing.assert_array_equal(ours, raster.read())
