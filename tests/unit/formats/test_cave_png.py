import numpy as np
import pytest
from PIL import Image

from hsipipe.errors import DataError, FileFormatError
from hsipipe.formats import open_cube


@pytest.mark.parametrize("nested", [False, True])
def test_sixteen_bit_bands_are_scaled_by_65535(tmp_path, write_scene, nested):
    expected = write_scene(tmp_path / "toys_ms", nested=nested)
    cube = open_cube(tmp_path / "toys_ms")
    assert cube.dims == ("band", "y", "x")
    assert cube.dtype == np.float32
    np.testing.assert_array_equal(cube, expected)
    np.testing.assert_array_equal(cube["wavelength_nm"], np.arange(400, 701, 10))


def test_watercolors_is_eight_bit_rgba_of_which_the_first_channel_counts(tmp_path, write_scene):
    expected = write_scene(tmp_path / "watercolors_ms", eight_bit=True)
    np.testing.assert_array_equal(open_cube(tmp_path / "watercolors_ms"), expected)


def test_junk_beside_the_bands_does_not_matter(tmp_path, write_scene):
    expected = write_scene(tmp_path / "toys_ms")
    for name in ("Thumbs.db", "._toys_ms_01.png", ".DS_Store", "toys_RGB.bmp"):
        (tmp_path / "toys_ms" / name).write_bytes(b"junk")
    np.testing.assert_array_equal(open_cube(tmp_path / "toys_ms"), expected)


def test_a_folder_around_a_scene_may_have_any_name(tmp_path, write_scene, monkeypatch):
    expected = write_scene(tmp_path / "my download" / "toys_ms")
    (tmp_path / "my download" / "empty_ms").mkdir()
    (tmp_path / "my download" / "._toys_ms").mkdir()
    np.testing.assert_array_equal(open_cube(tmp_path / "my download"), expected)
    for place in ("my download", "my download/toys_ms"):
        monkeypatch.chdir(tmp_path / place)
        np.testing.assert_array_equal(open_cube("."), expected)


@pytest.mark.parametrize("other", ["cars", "toys"])
def test_a_folder_of_several_scenes_is_no_cube(tmp_path, write_scene, other):
    write_scene(tmp_path / "all" / "toys_ms")
    write_scene(tmp_path / "all" / "cars_ms", name=other)
    with pytest.raises(DataError, match=rf"all holds the bands of several scenes \({other}, toys\); give the folder"):
        open_cube(tmp_path / "all")


def test_an_empty_png_is_named_once(tmp_path, write_scene):
    write_scene(tmp_path / "toys_ms")
    (tmp_path / "toys_ms" / "toys_ms_03.png").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"toys_ms: toys_ms_03\.png cannot be read .*no PNG header") as caught:
        open_cube(tmp_path / "toys_ms")
    assert str(caught.value).count(str(tmp_path)) == 1


def test_a_missing_band_is_named(tmp_path, write_scene):
    write_scene(tmp_path / "toys_ms")
    (tmp_path / "toys_ms" / "toys_ms_07.png").unlink()
    with pytest.raises(DataError, match=r"Scene 'toys': 30 bands .* missing: 7\."):
        open_cube(tmp_path / "toys_ms")


def test_bands_of_two_scenes_in_one_folder(tmp_path, write_scene):
    write_scene(tmp_path / "toys_ms")
    (tmp_path / "toys_ms" / "cars_ms_01.png").write_bytes(b"")
    with pytest.raises(DataError, match="several scenes"):
        open_cube(tmp_path / "toys_ms")


def test_a_flipped_bit_in_a_png_is_found(tmp_path, write_scene):
    write_scene(tmp_path / "toys_ms", size=(64, 64))
    file = tmp_path / "toys_ms" / "toys_ms_03.png"
    content = bytearray(file.read_bytes())
    for position in range(10, len(content), 301):
        bad = content.copy()
        bad[position] ^= 4
        file.write_bytes(bad)
        with pytest.raises(FileFormatError, match=r"toys_ms_03\.png"):
            open_cube(tmp_path / "toys_ms")


def test_a_band_of_another_size_is_named(tmp_path, write_scene):
    write_scene(tmp_path / "toys_ms")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "toys_ms" / "toys_ms_31.png")
    with pytest.raises(FileFormatError, match=r"toys_ms_31\.png has \(4, 4\) pixels"):
        open_cube(tmp_path / "toys_ms")


def test_a_png_of_another_kind_is_named(tmp_path, write_scene):
    write_scene(tmp_path / "toys_ms")
    Image.fromarray(np.zeros((8, 12), dtype=np.uint8), "P").save(tmp_path / "toys_ms" / "toys_ms_02.png")
    with pytest.raises(FileFormatError, match=r"toys_ms_02\.png is a PNG of mode P"):
        open_cube(tmp_path / "toys_ms")
