"""A result says where it comes from, to readers of others, and gives the same bytes where it must."""

import hashlib
import json
import re
import shutil

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from small_network import Killed, kill_after
from spectral.io import envi
from typer.testing import CliRunner

import hsipipe.inference.plan
from flows.__main__ import app
from hsipipe.commands.cube_facts import CubeFacts
from hsipipe.commands.predict_file import predict_file
from hsipipe.errors import ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.cf import of_file
from hsipipe.formats.georeference import attach
from hsipipe.formats.netcdf import save_classic
from hsipipe.formats.provenance import attach_provenance, content_digest, package_version
from hsipipe.inference.made_of import progress_of
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish

PLACE = Affine(30, 0, 500000, 0, -30, 4649000)
TILES = {"tile": 8, "overlap": 2, "full_scale": 1.0}


@pytest.fixture
def model(small_model, tmp_path):
    with publish(tmp_path / "model") as folder:
        small_model().save(folder)
    return tmp_path / "model"


@pytest.fixture
def lr(tmp_path):
    values = np.random.default_rng(0).random((8, 40, 30), dtype=np.float32)
    cube = xr.DataArray(values, dims=("band", "y", "x"), attrs={"history": "2020 made\n2021 cut", "title": "mine"})
    save_cube(attach(cube, crs=32632, transform=PLACE), tmp_path / "lr.nc")
    return tmp_path / "lr.nc"


def read_netcdf(path):
    with h5py.File(path) as file:
        return {key: value.decode() for key, value in file.attrs.items() if isinstance(value, bytes)}


def read_tiff(path):
    with rasterio.open(path) as file:
        return file.tags()


def read_envi(path):
    text = envi.open(f"{path}.hdr", str(path)).metadata["description"]
    pairs = (line.partition(": ") for line in text.splitlines() if line.strip())
    return {key.strip(): value.replace(" / ", "\n") for key, _, value in pairs}


READERS = {
    ".nc": read_netcdf,
    ".tif": read_tiff,
    ".zarr": lambda path: dict(zarr.open_group(path, mode="r").attrs),
    ".bil": read_envi,
}


@pytest.mark.parametrize("guard", ["warn", "fallback"])
@pytest.mark.parametrize("suffix", READERS)
def test_other_readers_find_the_model_the_source_and_the_options(tmp_path, lr, model, monkeypatch, suffix, guard):
    """In windows, and as a whole scene, which `guard` fallback wants."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    predict_file(lr, tmp_path / f"hr{suffix}", model=str(model), guard=guard, **TILES)
    found = READERS[suffix](tmp_path / f"hr{suffix}")
    assert found["hsipipe_version"] == package_version()
    assert found["hsipipe_date"] == "2023-11-14T22:13:20Z"
    assert (found["hsipipe_model_name"], found["hsipipe_model_place"]) == ("pca-residual", str(model))
    assert found["hsipipe_model_sha256"] == digest(model)
    assert found["hsipipe_input_file"] == "lr.nc"
    assert found["hsipipe_input_sha256"] == hashlib.sha256(lr.read_bytes()).hexdigest()
    options = found["hsipipe_parameters"]
    if suffix == ".bil":  # without braces
        options = "{" + options.strip("()") + "}"
    assert {"tile": 8, "overlap": 2, "guard": guard}.items() <= json.loads(options).items()
    made, cut, line = found["history"].splitlines()
    assert (made, cut) == ("2020 made", "2021 cut")
    assert line.startswith(f"2023-11-14T22:13:20Z hsipipe {package_version()} predict of lr.nc by pca-residual (place ")
    assert found["source"].startswith(f"hsipipe {package_version()}, pca-residual (place ")


@pytest.mark.parametrize("suffix", READERS)
def test_info_shows_the_provenance(tmp_path, lr, model, suffix):
    target = tmp_path / f"hr{suffix}"
    predict_file(lr, target, model=str(model), **TILES)
    assert CubeFacts.read(target).as_json()["provenance"]["hsipipe_model_sha256"] == digest(model)
    shown = " ".join(CliRunner().invoke(app, ["info", str(target)], env={"COLUMNS": "300"}).output.split())
    assert f"model_sha256: {digest(model)}" in shown
    assert "input_file: lr.nc" in shown


def test_a_second_result_continues_the_history_and_has_no_other_facts_of_the_first(tmp_path, lr, model):
    cube = open_cube(lr)
    save_cube(attach_provenance(cube, of_file(cube.attrs) | {"hsipipe_msi_file": "m.tif"}), tmp_path / "fused.zarr")
    predict_file(tmp_path / "fused.zarr", tmp_path / "hr.nc", model=str(model), **TILES)
    found = open_cube(tmp_path / "hr.nc").attrs
    assert "hsipipe_msi_file" not in found
    assert len(found["history"].splitlines()) == 3
    assert found["title"] == "mine"


def test_a_resumed_prediction_has_the_date_of_its_begin(tmp_path, lr, model, monkeypatch):
    monkeypatch.setattr(hsipipe.inference.plan, "_SHARD_BYTES", 4 * 8 * 32**2)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for suffix in (".tif", ".bsq"):
        predict_file(lr, tmp_path / f"whole{suffix}", model=str(model), **TILES)
        live = kill_after(monkeypatch, 30)
        (tmp_path / "other").mkdir(exist_ok=True)
        target = tmp_path / "other" / f"whole{suffix}"
        with pytest.raises(Killed):
            predict_file(lr, target, model=str(model), **TILES)
        assert 0 < progress_of(target).done < progress_of(target).total
        live()
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
        predict_file(lr, target, model=str(model), **TILES)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        assert target.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_a_sharpened_scene_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("hsipipe.sharpen.compare.fit_network", lambda *_, **__: (None, "not in this test"))
    values = np.random.default_rng(0).random((3, 12, 12)).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    cube = attach(xr.DataArray(values, dims=("band", "y", "x")), transform=PLACE)
    save_cube(cube, tmp_path / "scene.nc")
    done = CliRunner().invoke(app, ["sharpen", str(tmp_path / "scene.nc"), str(tmp_path / "hr.tif"), "--scale", "2"])
    assert done.exit_code in (0, 3), done.output
    found = read_tiff(tmp_path / "hr.tif")
    assert (found["hsipipe_command"], found["hsipipe_model_place"]) == ("sharpen", "fitted to the input")
    assert found["hsipipe_input_sha256"] == hashlib.sha256((tmp_path / "scene.nc").read_bytes()).hexdigest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["hsipipe_date"])


def test_a_classic_netcdf_keeps_it_too(tmp_path, lr):
    cube = attach_provenance(open_cube(lr), {"hsipipe_version": "1", "source": "hsipipe"})
    save_classic(cube, tmp_path / "classic.nc")
    found = open_cube(tmp_path / "classic.nc").attrs
    assert (found["hsipipe_version"], found["source"]) == ("1", "hsipipe")
    assert xr.open_dataset(tmp_path / "classic.nc", engine="scipy").attrs["hsipipe_version"] == "1"


def test_the_digest_of_several_files_is_that_of_sha256sum(tmp_path, lr):
    save_cube(open_cube(lr), tmp_path / "a.bil")
    lines = [
        f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in ("a.bil", "a.bil.hdr")
    ]
    assert content_digest(tmp_path / "a.bil") == hashlib.sha256("".join(lines).encode()).hexdigest()
    shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    assert content_digest(tmp_path.with_name("copy") / "a.bil") == content_digest(tmp_path / "a.bil")


def test_a_date_that_is_none_is_refused_in_a_line(tmp_path, lr, model, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ParamsError, match=r"SOURCE_DATE_EPOCH is 'yesterday', expected seconds since 1970"):
        predict_file(lr, tmp_path / "hr.nc", model=str(model), **TILES)
    assert not (tmp_path / "hr.nc").exists()
