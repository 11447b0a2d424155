"""Stacks of ImageJ and tifffile, of one directory or several: all planes, or an error."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube


@settings(max_examples=60, deadline=None)
@given(
    planes=st.integers(1, 9),
    kind=st.sampled_from(["u1", "u2", "f4"]),
    imagej=st.booleans(),
    truncate=st.booleans(),
    axis=st.sampled_from("ZCT"),
    compressed=st.booleans(),
    big=st.booleans(),
)
def test_what_tifffile_reads_is_read_alike_or_refused(
    tmp_path_factory, planes, kind, imagej, truncate, axis, compressed, big
):
    values = np.random.default_rng(planes).integers(0, 200, (planes, 6, 7)).astype(kind)
    path = tmp_path_factory.mktemp("stack") / "s.tif"
    options = {"imagej": True, "metadata": {"axes": f"{axis}YX"}} if imagej else {"bigtiff": big}
    options |= {"compression": "zlib"} if compressed and not truncate else {}
    tifffile.imwrite(
        path, values, photometric="minisblack", truncate=truncate, byteorder=">" if big else "<", **options
    )
    np.testing.assert_array_equal(tifffile.imread(path).reshape(values.shape), values)
    np.testing.assert_array_equal(open_cube(path), values)


@pytest.mark.parametrize("truncate", [True, False])
def test_labels_of_the_slices_may_say_the_wavelengths(tmp_path, truncate):
    labels = [f"{400 + 10 * n} nm" for n in range(31)]
    values = np.zeros((31, 16, 20), "u2")
    metadata = {"axes": "CYX", "Labels": labels}
    tifffile.imwrite(tmp_path / "s.tif", values, imagej=True, truncate=truncate, metadata=metadata)
    np.testing.assert_array_equal(open_cube(tmp_path / "s.tif")["wavelength_nm"], np.arange(400, 701, 10))


@pytest.mark.parametrize("truncate", [True, False])
def test_several_axes_beside_rows_and_columns_are_an_error(tmp_path, truncate):
    values = np.zeros((2, 5, 16, 20), "u2")
    tifffile.imwrite(tmp_path / "s.tif", values, imagej=True, truncate=truncate, metadata={"axes": "TCYX"})
    with pytest.raises(FileFormatError, match="it has the axes T of 2, C of 5 beside rows and columns"):
        open_cube(tmp_path / "s.tif")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
def test_a_stack_that_holds_fewer_planes_than_it_claims_is_an_error(tmp_path, kept):
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, np.zeros((31, 16, 20), "u2"), imagej=True, truncate=True, metadata={"axes": "ZYX"})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FileFormatError, match=r"s\.tif: ImageJ's description claims 31 images, it holds 1"):
        open_cube(path)


def test_colours_in_one_directory_are_an_error(tmp_path):
    values = np.zeros((31, 16, 20, 3), "u1")
    tifffile.imwrite(tmp_path / "s.tif", values, imagej=True, truncate=True, metadata={"axes": "ZYXS"})
    with pytest.raises(FileFormatError, match="axes Z of 31, S of 3 beside rows and columns"):
        open_cube(tmp_path / "s.tif")


@pytest.mark.parametrize("samples", [2, 3])
def test_images_of_one_size_that_may_be_one_cube_must_be_named(tmp_path, samples):
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(np.zeros((8, 9, samples), "u2"), photometric="minisblack", planarconfig="contig", metadata=None)
        for _ in range(5):
            file.write(np.ones((8, 9), "u2"), photometric="minisblack", metadata=None)
    with pytest.raises(FileFormatError, match=rf"may belong to one cube \(page_1 {samples}x8x9, pages_2_to_6 5x8x9\)"):
        open_cube(tmp_path / "s.tif")
    assert open_cube(tmp_path / "s.tif", variable="pages_2_to_6").shape == (5, 8, 9)


def test_smaller_images_that_are_not_read_are_told(tmp_path, caplog):
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for size, count in ((8, 5), (4, 5)):
            file.write(np.zeros((count, size, size), "u2"), photometric="minisblack", metadata=None)
    assert open_cube(tmp_path / "s.tif").shape == (5, 8, 8)
    assert "of its images (pages_1_to_5 5x8x8, pages_6_to_10 5x4x4) the largest is read" in caplog.text


def test_a_volume_in_one_image_is_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (32, 32, 48)).astype("u2")
    tifffile.imwrite(tmp_path / "s.tif", values, volumetric=True, photometric="minisblack")
    np.testing.assert_array_equal(open_cube(tmp_path / "s.tif"), values)


@pytest.mark.parametrize("options", [{"tile": (16, 16, 16)}, {"compression": "zlib"}])
def test_a_volume_in_blocks_is_refused(tmp_path, options):
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((32, 32, 48), "u2"), volumetric=True, **options)
    with pytest.raises(
        FileFormatError, match="32x32x48 that are compressed or interleaved; save it with one directory"
    ):
        open_cube(tmp_path / "s.tif")


def test_bands_in_sub_directories_are_an_error_and_smaller_copies_are_not(tmp_path):
    for size, name in ((16, "bands.tif"), (8, "pyramid.tif")):
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(np.ones((16, 16), "u2"), subifds=2, photometric="minisblack")
            for _ in range(2):
                file.write(np.zeros((size, size), "u2"), photometric="minisblack", subfiletype=int(size < 16))
    with pytest.raises(FileFormatError, match="it holds images in sub-directories"):
        open_cube(tmp_path / "bands.tif")
    assert open_cube(tmp_path / "pyramid.tif").shape == (1, 16, 16)
