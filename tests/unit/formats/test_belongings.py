"""What belongs to a cube, and what in a folder is one."""

import shutil

import numpy as np
import pytest
import xarray as xr

from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.formats import companions, is_cube, open_cube, save_cube


@pytest.fixture
def write_envi(tmp_path, cube_values):
    """Writes a header and its data under given names."""

    def write(header, data):
        text = "ENVI\nsamples = 12\nlines = 8\nbands = 5\ndata type = 4\ninterleave = bsq\nbyte order = 0\n"
        (tmp_path / header).write_text(text)
        (tmp_path / data).write_bytes(cube_values.astype("<f4").tobytes())

    return write


@pytest.mark.parametrize(("header", "data"), [("a.hdr", "a.img"), ("a.img.hdr", "a.img"), ("a.hdr", "a")])
def test_an_envi_cube_is_two_files_and_listed_once(tmp_path, cube_values, write_envi, header, data):
    write_envi(header, data)
    both = sorted([tmp_path / header, tmp_path / data])
    assert [path for path in sorted(tmp_path.iterdir()) if is_cube(path)] == [tmp_path / header]
    for name in (header, data):
        assert companions(tmp_path / name) == both
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in both:
        shutil.copy(file, elsewhere)
    np.testing.assert_array_equal(open_cube(elsewhere / header), cube_values)


def test_two_headers_of_one_file_are_one_cube(tmp_path, write_envi):
    write_envi("a.hdr", "a.img")
    write_envi("a.img.hdr", "a.img")
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_cube(path)] == ["a.img.hdr"]


def test_a_header_without_data_is_no_cube(tmp_path, write_envi):
    write_envi("a.hdr", "a.img")
    (tmp_path / "a.img").unlink()
    assert not is_cube(tmp_path / "a.hdr")
    with pytest.raises(FileFormatError, match=r"a\.hdr: there is no data file next to this header"):
        companions(tmp_path / "a.hdr")


def test_what_lies_beside_a_geotiff_and_is_a_part_of_it(tmp_path, cube_values):
    save_cube(xr.DataArray(cube_values, dims=("band", "y", "x")), tmp_path / "a.tif")
    for name in ("a.tif.aux.xml", "a.tfw", "a.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in companions(tmp_path / "a.tif")] == ["a.tfw", "a.tif", "a.tif.aux.xml"]


def test_a_zarr_store_is_all_its_files(tmp_path, cube_values):
    path = tmp_path / "a.zarr"
    xr.Dataset({"a": (("band", "y", "x"), cube_values)}).to_zarr(path, zarr_format=2, consolidated=False)
    assert is_cube(path)
    assert path / ".zgroup" in companions(path)
    assert len(companions(path)) == sum(file.is_file() for file in path.rglob("*"))


@pytest.mark.parametrize("nested", [False, True])
def test_a_cave_scene_is_its_files_without_junk(tmp_path, write_scene, nested):
    write_scene(tmp_path / "toys_ms", nested=nested)
    (tmp_path / "toys_ms" / "._toys_ms_01.png").write_bytes(b"")
    assert is_cube(tmp_path / "toys_ms")
    assert len(companions(tmp_path / "toys_ms")) == 31


def test_what_is_no_cube(tmp_path):
    for name in ("a.txt", "._b.mat", ".c.npy", "d.hdr", "e.img"):
        (tmp_path / name).write_text("nothing")
    (tmp_path / "folder").mkdir()
    assert not any(is_cube(path) for path in [*tmp_path.iterdir(), tmp_path / "nothing.mat"])
    with pytest.raises(FileFormatError, match=r"a\.txt: no format reads"):
        companions(tmp_path / "a.txt")
    with pytest.raises(MissingInputError, match="No file or folder"):
        companions(tmp_path / "nothing.mat")
