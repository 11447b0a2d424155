import numpy as np
import pytest
from PIL import Image
from viewer_files import NM, as_cube, smooth

from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.formats import save_cube
from hsipipe.viewer.quicklook import quicklook


def picture(path):
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_true_colours_share_a_stretch_between_percentiles(files, tmp_path):
    said = quicklook(files["truth"], tmp_path / "a.png")
    image = picture(tmp_path / "a.png").astype(float)
    truth = smooth()
    bands = [int(np.abs(NM - nm).argmin()) for nm in (650, 550, 450)]
    assert said.startswith("true colour (650, 550, 450 nm): bands ")
    assert f"{bands[0] + 1} ({NM[bands[0]]:g} nm)" in said
    low, high = (chosen(np.percentile(truth[bands], q, axis=(1, 2))) for q, chosen in ((1, min), (99, max)))
    for channel, band in enumerate(bands):
        expected = 255 * np.clip((truth[band] - low) / (high - low), 0, 1) ** (1 / 2.2)
        np.testing.assert_allclose(image[..., channel], expected, atol=1)


def test_other_colours_are_stretched_one_by_one(tmp_path):
    values = smooth(bands=3) * np.array([1, 10, 100], np.float32)[:, None, None]
    save_cube(as_cube(values, None), tmp_path / "a.nc")
    quicklook(tmp_path / "a.nc", tmp_path / "a.png")
    image = picture(tmp_path / "a.png")
    assert image.max(axis=(0, 1)).tolist() == [255] * 3
    assert image.min(axis=(0, 1)).tolist() == [0] * 3


def test_bad_and_empty_bands_are_not_used_and_a_pixel_without_data_is_grey(tmp_path):
    values = smooth(bands=6)
    values[4] = np.nan
    values[:, 0, 0] = np.nan
    save_cube(as_cube(values, None).assign_attrs(bad_bands=[3]), tmp_path / "a.nc")
    assert quicklook(tmp_path / "a.nc", tmp_path / "a.png") == "false colour (bands spread evenly): bands 6, 4, 2"
    assert tuple(picture(tmp_path / "a.png")[0, 0]) == (128, 128, 128)


def test_a_large_cube_becomes_a_picture_of_the_size_asked_for(tmp_path):
    save_cube(as_cube(np.tile(smooth(bands=3), (1, 1, 10)), None), tmp_path / "a.nc")
    quicklook(tmp_path / "a.nc", tmp_path / "a.png", size=60)
    assert picture(tmp_path / "a.png").shape == (6, 60, 3)


def test_what_cannot_be_pictured_writes_nothing(files, tmp_path):
    save_cube(as_cube(np.full((3, 4, 4), np.nan, np.float32), None), tmp_path / "nan.nc")
    with pytest.raises(DataError, match="no band with values"):
        quicklook(tmp_path / "nan.nc", tmp_path / "a.png")
    with pytest.raises(FileFormatError, match=r"name it \.png"):
        quicklook(files["truth"], tmp_path / "a.jpg")
    with pytest.raises(MissingInputError, match="No folder"):
        quicklook(files["truth"], tmp_path / "no" / "a.png")
    assert not list(tmp_path.glob("a.*"))
