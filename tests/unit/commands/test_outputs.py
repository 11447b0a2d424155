"""No output replaces a file of an input."""

import numpy as np
import pytest
import xarray as xr

from hsipipe.commands.outputs import check_inputs_stay, files_of
from hsipipe.commands.predict_file import predict_file
from hsipipe.commands.sharpen_file import SharpenOptions, results, sharpen_file
from hsipipe.errors import ParamsError
from hsipipe.formats import save_cube


@pytest.fixture
def folder(tmp_path):
    """ENVI cubes with the two kinds of names of a header, and a link."""
    cube = xr.DataArray(np.ones((3, 8, 8), np.float32), dims=("band", "y", "x"))
    for name in ("scene.bil", "u.bil"):
        save_cube(cube, tmp_path / name)
    (tmp_path / "u.bil.hdr").rename(tmp_path / "u.hdr")
    (tmp_path / "link.nc").symlink_to("real.nc")
    save_cube(cube, tmp_path / "real.nc")
    return tmp_path


CASES = [("scene.bil.hdr", "scene.bil"), ("scene.bil", "scene.bil"), ("u.hdr", "u.bil"), ("link.nc", "real.nc")]


@pytest.mark.parametrize(("source", "target"), CASES)
def test_files_of_an_input_are_not_replaced(folder, source, target):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ParamsError, match=f"A result would replace the input .*; choose another name than .*{target}"):
        sharpen_file(folder / source, folder / target, SharpenOptions(scale=2))
    with pytest.raises(ParamsError, match="A result would replace the input"):
        predict_file(folder / source, folder / target, model="none", tile=8, overlap=2, full_scale=1.0)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_contains_an_input_is_not_replaced(tmp_path):
    with pytest.raises(ParamsError, match="would replace the input"):
        check_inputs_stay([tmp_path / "a.zarr"], [tmp_path / "a.zarr" / "b.nc"])
    check_inputs_stay([tmp_path / "a.zarr", tmp_path / "a.png"], [tmp_path / "b.nc"])


def test_the_header_is_one_of_the_files(tmp_path):
    assert [path.name for path in files_of(tmp_path / "high.bil")] == ["high.bil", "high.bil.hdr"]
    assert [path.name for path in results(tmp_path / "high.bil")] == [
        "high.bil",
        "high.bil.hdr",
        "high.png",
        "high.json",
    ]
