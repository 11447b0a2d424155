"""info, predict and quicklook of a cube on a server."""

import json

import numpy as np
import pytest
from file_server import serving
from PIL import Image
from typer.testing import CliRunner

from hsipipe.commands.app import make_app
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.base import make_cube
from hsipipe.methods.bicubic import Bicubic
from hsipipe.storage.publish import publish


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with publish(tmp_path_factory.mktemp("model") / "net") as out:
        Bicubic(2).save(out)
    return out.parent / "net"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    values = np.random.default_rng(0).random((6, 300, 260), dtype=np.float32)
    for name in ("x.tif", "x.zarr"):
        save_cube(make_cube(values, wavelength_nm=np.linspace(450, 900, 6)), folder / name)
    with serving(folder) as files:
        yield files


@pytest.fixture
def hsipipe(tmp_path, monkeypatch):
    """``hsipipe(words)`` runs a command in an empty folder and returns its result."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(make_app({}), [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("name", ["x.tif", "x.zarr"])
def test_a_prediction_of_an_address_is_that_of_the_file(server, hsipipe, model, tmp_path, name):
    for source, target in [(f"{server.address}/{name}", "far.zarr"), (server.folder / name, "near.zarr")]:
        done = hsipipe("predict", source, target, "--model", model, "--tile", 64)
        assert done.exit_code == 0, done.output
    far, near = (open_cube(tmp_path / f"{which}.zarr") for which in ("far", "near"))
    np.testing.assert_array_equal(far.values, near.values)
    assert far.attrs["hsipipe_input_url"] == f"{server.address}/{name}"


def test_info_of_an_address_reads_its_middle(server, hsipipe):
    server.asked.clear()
    done = hsipipe("info", "--json", f"{server.address}/x.tif")
    facts = json.loads(done.output.splitlines()[-1])
    assert (facts["file"], facts["bands"], facts["rows"]) == (f"{server.address}/x.tif", 6, 300)
    assert facts["values_seen"] == 6 * 128 * 128
    assert facts["size_bytes"] == (server.folder / "x.tif").stat().st_size
    said = hsipipe("info", f"{server.address}/x.zarr").output
    assert "in the middle of the scene" in said
    assert "download it" in said


def test_a_picture_of_an_address(server, hsipipe, tmp_path):
    done = hsipipe("quicklook", f"{server.address}/x.tif", "x.png")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (260, 300)


def test_an_address_that_does_not_answer_ends_before_the_model_is_loaded(hsipipe, model, tmp_path):
    done = CliRunner().invoke(make_app({}), ["predict", "http://127.0.0.1:9/x.tif", "y.zarr", "--model", str(model)])
    assert done.exit_code != 0
    assert "cannot be reached" in str(done.exception)
    assert not list(tmp_path.iterdir())
