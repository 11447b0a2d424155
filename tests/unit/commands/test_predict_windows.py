"""A scene in windows, from file to file, by a saved model."""

import os
import shutil
from functools import partial

import numpy as np
import pytest
import xarray as xr
import zarr
from affine import Affine
from small_network import Killed, kill_after, small_network
from typer.testing import CliRunner

import hsipipe.inference.plan
import hsipipe.memory
from flows.__main__ import app
from hsipipe.commands.predict_file import predict_file
from hsipipe.commands.predict_windows import show_status
from hsipipe.commands.sample_file import Samples
from hsipipe.errors import DataError, MissingInputError, ModelInputError, ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.georeference import attach, crs_of, transform_of
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.domain import Domain
from hsipipe.storage.publish import publish

CENTRES = [400.0, 500.0, 600.0, 700.0]
TILES = {"tile": 12, "overlap": 3, "full_scale": 1000.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a small network that knows its bands."""
    made = small_network()
    made.within(Domain(tuple(CENTRES), 0.0, 1.0, 1.0, np.eye(4), 0.0))
    with publish(tmp_path_factory.mktemp("model") / "net") as out:
        made.save(out)
    return tmp_path_factory.getbasetemp() / out.parent.name / "net"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Shards of 16 x 16 LR pixels, as of a large scene."""
    monkeypatch.setattr(hsipipe.inference.plan, "_SHARD_BYTES", 4 * 4 * 32**2)


@pytest.fixture
def lr(tmp_path):
    """File of a cube of 40 x 30 pixels in units of 1/1000."""
    values = np.random.default_rng(0).random((4, 40, 30), dtype=np.float32)
    cube = xr.DataArray(1000 * values, dims=("band", "y", "x"), attrs={"gsd_m": 30.0, "sensor": "test"})
    cube = cube.assign_coords(
        wavelength_nm=("band", CENTRES), fwhm_nm=("band", [9.0, 9.5, 10.0, 10.5]), band_name=("band", list("abcd"))
    )
    save_cube(attach(cube, crs=32632, transform=Affine(30, 0, 500000, 0, -30, 4649000)), tmp_path / "lr.nc")
    return tmp_path / "lr.nc"


def expected(lr, model):
    scaled = open_cube(lr).to_numpy() / np.float32(1000)
    return predict_scene(load_model(model), scaled, tile=12, overlap=3) * np.float32(1000)


@pytest.mark.parametrize("suffix", [".zarr", ".nc", ".tif", ".npy"])
def test_the_result_has_the_bits_and_the_facts_of_the_whole(tmp_path, lr, model, capsys, suffix):
    target = tmp_path / f"hr{suffix}"
    assert predict_file(lr, target, model=str(model), **TILES) == [target]
    hr = open_cube(target)
    assert hr.to_numpy().tobytes() == expected(lr, model).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, "lr.nc"])
    if suffix == ".npy":
        return
    np.testing.assert_array_equal(hr["wavelength_nm"], CENTRES)
    np.testing.assert_array_equal(hr["fwhm_nm"], [9.0, 9.5, 10.0, 10.5])
    assert hr["band_name"].values.tolist() == list("abcd")
    assert crs_of(hr).to_epsg() == 32632
    assert transform_of(hr).almost_equals(Affine(15, 0, 500000, 0, -15, 4649000))
    assert (hr.attrs["gsd_m"], hr.attrs["sensor"]) == (15.0, "test")


def test_a_zarr_has_checked_shards_and_says_its_position_by_all_conventions(tmp_path, lr, model):
    predict_file(lr, tmp_path / "hr.zarr", model=str(model), **TILES)
    group = zarr.open_consolidated(tmp_path / "hr.zarr", mode="r")
    array = group["reflectance"]
    assert (array.shards, array.chunks) == ((4, 32, 32), (4, 32, 32))
    assert "'blosc'" in str(array.metadata.to_dict()["codecs"])
    assert array.attrs["grid_mapping"] == "spatial_ref"
    assert group.attrs["proj:code"] == "EPSG:32632"
    assert group.attrs["spatial:transform"] == [15.0, 0.0, 500000.0, 0.0, -15.0, 4649000.0]
    assert {entry["name"] for entry in group.attrs["zarr_conventions"]} == {"proj:", "spatial:"}
    assert "spatial:transform" not in open_cube(tmp_path / "hr.zarr").attrs


@pytest.fixture
def dies(monkeypatch):
    """``dies(5)`` ends the prediction at the sixth tile."""
    return partial(kill_after, monkeypatch)


def test_a_killed_prediction_goes_on(tmp_path, lr, model, dies, monkeypatch, capsys):
    whole, target = expected(lr, model), tmp_path / "hr.nc"
    dies(20)
    with pytest.raises(Killed):
        predict_file(lr, target, model=str(model), **TILES)
    assert not target.exists()
    monkeypatch.undo()
    result = CliRunner().invoke(app, ["predict", "--status", str(target)])
    assert result.exit_code == 0
    assert f"{target}: 2 of 6 windows are done" in result.output.replace("\n", "")
    monkeypatch.setattr(hsipipe.inference.plan, "_SHARD_BYTES", 4 * 4 * 32**2)
    predict_file(lr, target, model=str(model), memory=10**9, **TILES)
    assert "note: 2 of 6 windows are done; the others follow." in capsys.readouterr().err
    assert open_cube(target).to_numpy().tobytes() == whole.tobytes()
    show_status(target)
    assert "complete" in capsys.readouterr().out
    with pytest.raises(MissingInputError, match="nor an unfinished one"):
        show_status(tmp_path / "other.nc")


@pytest.mark.parametrize("change", ["--overlap", "source"])
def test_an_unfinished_prediction_of_something_else_is_named(tmp_path, lr, model, dies, monkeypatch, change):
    dies(20)
    with pytest.raises(Killed):
        predict_file(lr, tmp_path / "hr.nc", model=str(model), **TILES)
    other = TILES
    if change == "source":
        os.utime(lr, (0, 0))
    else:
        other = {**TILES, "overlap": 2}
    with pytest.raises(ParamsError, match=rf"unfinished result that is made of something else \({change}: .* there"):
        predict_file(lr, tmp_path / "hr.nc", model=str(model), **other)
    assert not (tmp_path / "hr.nc").exists()


def test_an_error_before_the_first_window_leaves_nothing(tmp_path, lr, model):
    with pytest.raises(DataError, match=r"has values up to 999.*, expected 1\.0 as the full range"):
        predict_file(lr, tmp_path / "hr.zarr", model=str(model), **{**TILES, "full_scale": 0.001})
    assert [path.name for path in tmp_path.iterdir()] == ["lr.nc"]


def test_too_little_memory_or_disk_is_said_before_the_start(tmp_path, lr, model, monkeypatch):
    with pytest.raises(ParamsError, match=r"--memory is 1 MB, but windows of this scene take at least .* MB; give"):
        predict_file(lr, tmp_path / "hr.zarr", model=str(model), memory=10**6, **TILES)
    monkeypatch.setattr(hsipipe.memory, "available_memory", lambda: (0, 0))
    monkeypatch.setattr(hsipipe.inference.needs, "available_memory", lambda: (0, 0))
    with pytest.raises(DataError, match=r"A result of 4 x 80 x 60 values needs about .* of memory, but 0 bytes"):
        predict_file(lr, tmp_path / "hr.zarr", model=str(model), **TILES)
    monkeypatch.undo()
    # Enough for the result, not for its parts, too.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 1_200_000))
    predict_file(lr, tmp_path / "hr.zarr", model=str(model), **TILES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 90_000))
    with pytest.raises(DataError, match=r"hr\.nc needs up to .*, but the disk of .* has 90 kB free"):
        predict_file(lr, tmp_path / "hr.nc", model=str(model), **TILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hr.zarr", "lr.nc"]


def test_the_warnings_are_those_of_the_whole_scene(tmp_path, lr, model, capsys):
    doubled = {**TILES, "full_scale": 500.0}
    predict_file(lr, tmp_path / "a.nc", model=str(model), **doubled)
    windows = capsys.readouterr().err
    predict_file(lr, tmp_path / "b.nc", model=str(model), guard="fallback", **doubled)
    whole = capsys.readouterr().err
    assert "of the values lie outside of the range of the training" in windows
    assert windows.splitlines() == [line for line in whole.splitlines() if "interpolated instead" not in line]


def test_a_regression_has_a_spread_of_zero_in_windows(tmp_path, lr, model, capsys):
    written = predict_file(lr, tmp_path / "hr.zarr", model=str(model), samples=Samples(3, (0.05,)), **TILES)
    assert [path.name for path in written] == ["hr.zarr", "hr_std.zarr", "hr_q05.zarr"]
    mean, std, low = (open_cube(path) for path in written)
    assert not std.any()
    np.testing.assert_array_equal(mean, low)
    assert "samples have no spread" in capsys.readouterr().err


def test_another_number_of_bands_is_told_of_the_cube_and_not_of_a_tile(tmp_path, model):
    values = np.random.default_rng(0).random((7, 40, 30), dtype=np.float32)
    save_cube(xr.DataArray(values, dims=("band", "y", "x")), tmp_path / "lr.npy")
    with pytest.raises(ModelInputError, match=r"^The cube has 7 bands, the model was trained on 4; select"):
        predict_file(tmp_path / "lr.npy", tmp_path / "hr.npy", model=str(model), tile=12, overlap=3, full_scale=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["lr.npy"]
