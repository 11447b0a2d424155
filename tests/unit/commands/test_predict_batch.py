"""Scenes become products, each once; one that fails does not stop the others."""

import json
import os

import numpy as np
import pytest
from file_server import serving

import hsipipe.commands.predict_batch
from hsipipe.commands.batch_scenes import batch_scenes
from hsipipe.commands.predict_batch import Batch, BatchOptions, check_outcomes
from hsipipe.errors import DataError, FileFormatError, MissingInputError, ParamsError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.base import make_cube
from hsipipe.methods.bicubic import Bicubic
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish, sole_writer
from hsipipe.storage.urls import Url


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of an interpolation."""
    with publish(tmp_path_factory.mktemp("model") / "net") as out:
        Bicubic(2).save(out)
    return out.parent / "net"


@pytest.fixture
def scenes(tmp_path):
    """Folder of two scenes."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for number, name in enumerate(["a.nc", "b.npy"]):
        values = np.random.default_rng(number).random((4, 20, 16), dtype=np.float32)
        save_cube(make_cube(values * 1000), folder / name)
    (folder / "README.txt").write_text("no scene")
    return folder


@pytest.fixture
def run(tmp_path, model):
    """``run(scenes)`` returns the outcomes as ``{"a": "made"}``, and keeps their texts in `run.texts`."""

    def run(place, *, suffix=".zarr", asset=None, **options):
        given = BatchOptions(**{"full_scale": 1000.0, "tile": 12, "overlap": 2, **options})
        batch = Batch(place, tmp_path / "out", model=str(model), suffix=suffix, asset=asset, options=given)
        outcomes = [batch.predict(scene) for scene in batch.scenes]
        run.texts = {outcome.name: outcome.text for outcome in outcomes}
        run.outcomes = outcomes
        return {outcome.name: outcome.kind for outcome in outcomes}

    return run


def test_a_product_has_a_record_of_what_it_is_made_of(scenes, run, tmp_path, model):
    assert run(scenes) == {"a": "made", "b": "made"}
    assert check_outcomes(run.outcomes) == "2 made"
    hr = open_cube(tmp_path / "out" / "a.zarr")
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["model"] == {"uri": str(model), "sha256": digest(model)}
    assert record["source"]["path"] == str(scenes / "a.nc")
    assert (record["product"], record["options"]["tile"]) == ("a.zarr", 12)
    assert record["quality"]["low"] == float(hr.min())
    assert record["quality"]["high"] == float(hr.max())
    assert record["quality"]["no_data_share"] == 0
    # Interpolation gains nothing over itself, and adds no detail.
    assert abs(record["quality"]["guard"]["gain_db"]) < 1e-3
    assert record["quality"]["guard"]["doubtful_share"] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a.zarr", "b.json", "b.zarr"]


def test_a_scene_is_predicted_once_until_it_changes(scenes, run, tmp_path):
    run(scenes)
    before = (tmp_path / "out" / "a.json").read_bytes()
    assert run(scenes) == {"a": "known", "b": "known"}
    assert (tmp_path / "out" / "a.json").read_bytes() == before
    os.utime(scenes / "b.npy", (0, 0))
    assert run(scenes) == {"a": "known", "b": "made"}
    (tmp_path / "out" / "a.json").write_text("{")
    assert run(scenes) == {"a": "made", "b": "known"}


def test_products_can_have_the_integers_of_their_scenes(run, tmp_path):
    (tmp_path / "counts").mkdir()
    values = np.random.default_rng(0).integers(0, 1000, (4, 20, 16), dtype=np.uint16)
    np.save(tmp_path / "counts" / "a.npy", values)
    assert run(tmp_path / "counts", suffix=".tif", dtype="like-input") == {"a": "made"}
    assert open_cube(tmp_path / "out" / "a.tif").encoding["stored_dtype"] == "uint16"
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert record["options"]["dtype"] == "like-input"


def test_what_another_process_predicts_is_left_to_it(scenes, run, tmp_path):
    (tmp_path / "out").mkdir()
    with sole_writer(tmp_path / "out" / "a.json"):
        assert run(scenes) == {"a": "waiting", "b": "made"}
    assert "is being written by another process" in run.texts["a"]
    assert check_outcomes(run.outcomes) == "1 made, 1 waiting"
    assert run(scenes) == {"a": "made", "b": "known"}


class Killed(BaseException):
    """A kill."""


def test_killed_before_its_record_a_product_is_made_again(scenes, run, tmp_path, monkeypatch):
    def die(*_):
        raise Killed

    monkeypatch.setattr(hsipipe.commands.predict_batch, "write_text", die)
    with pytest.raises(Killed):
        run(scenes)
    monkeypatch.undo()
    assert (tmp_path / "out" / "a.zarr").exists()
    assert run(scenes) == {"a": "made", "b": "made"}


def test_a_broken_scene_costs_a_line(scenes, run):
    (scenes / "a.nc").write_bytes(b"CDF\1")
    (scenes / "c.zarr").mkdir()
    assert run(scenes) == {"a": "failed", "b": "made", "c": "failed"}
    assert "cannot be read as a cube, or is not complete" in run.texts["c"]
    assert all("\n" not in text for text in run.texts.values())
    with pytest.raises(DataError, match=r"^1 made, 2 failed; not predicted: a, c\."):
        check_outcomes(run.outcomes)


def test_an_error_of_the_machine_costs_its_scene(scenes, run, monkeypatch):
    plain = hsipipe.commands.predict_batch.predict_file

    def fails(path, *args, **more):
        if path.stem == "a":
            raise OSError(28, "No space left on device")
        return plain(path, *args, **more)

    monkeypatch.setattr(hsipipe.commands.predict_batch, "predict_file", fails)
    assert run(scenes) == {"a": "failed", "b": "made"}
    assert "The disk is full" in run.texts["a"]


def test_a_scene_that_may_still_be_copied_waits(scenes, run):
    os.utime(scenes / "a.nc", (0, 0))
    assert run(scenes, quiet_s=3600.0) == {"a": "made", "b": "waiting"}


def test_two_scenes_of_one_name_are_refused(scenes, run):
    save_cube(open_cube(scenes / "a.nc"), scenes / "a.npy")
    assert run(scenes) == {"a": "failed", "b": "made"}
    assert run.texts["a"] == "2 scenes have this name; rename one"


def test_an_asset_of_each_item_is_a_scene(scenes, run, tmp_path):
    def item(name, **assets):
        return {"type": "Feature", "id": name, "assets": assets}

    data = {"href": "scenes/a.nc", "roles": ["data"]}
    items = [
        item("first", cube=data, thumbnail={"href": "x.png"}),
        item("second", cube={"href": (scenes / "b.npy").as_uri()}),
        item("gone", cube={"href": "scenes/none.nc"}),
        item("far", cube={"href": "s3://bucket/a.nc"}),
        item("two", one=data, other=data),
        item("../up", cube=data),
        {"type": "Feature", "id": "odd", "assets": {"cube": {}}},
    ]
    place = tmp_path / "items.json"
    place.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    kinds = run(place)
    assert kinds == {"first": "made", "second": "made"} | dict.fromkeys(
        ("gone", "far", "two", "../up", "odd"), "failed"
    )
    assert run.texts["gone"] == f"its asset cube is not at {tmp_path}/scenes/none.nc"
    assert "NetCDF is not read in parts over the network" in run.texts["far"]
    assert "any of its assets one, other; choose one with --asset" in run.texts["two"]
    assert json.loads((tmp_path / "out" / "first.json").read_text())["source"]["item"] == "first#cube"
    assert [scene.path for scene in batch_scenes(place, asset="one") if not scene.trouble] == [tmp_path / "scenes/a.nc"]


def test_a_list_on_a_server_names_cubes_on_servers(scenes, run, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    save_cube(open_cube(scenes / "a.nc"), served / "near.tif")
    save_cube(open_cube(scenes / "b.npy"), served / "far.zarr")
    with serving(served) as files:
        assets = {
            "near": "near.tif",
            "far": f"{files.address}/far.zarr",
            "gone": "none.tif",
            "mine": (scenes / "a.nc").as_uri(),
        }
        items = [{"id": name, "assets": {"cube": {"href": href}}} for name, href in assets.items()]
        (served / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        place = Url(f"{files.address}/items.json")
        wanted = {"near": "made", "far": "made", "gone": "failed", "mine": "failed"}
        assert run(place) == wanted
        assert "No file at" in run.texts["gone"]
        assert "expected one that begins with http://" in run.texts["mine"]
        record = json.loads((tmp_path / "out" / "near.json").read_text())["source"]
        assert record["path"] == f"{files.address}/near.tif"
        assert record["item"] == "near#cube"
        assert run(place) == {**wanted, "near": "known", "far": "known"}
        files.version = "2"
        assert run(place)["near"] == "made"
    assert run(scenes)["a"] == "made"
    near, local = (open_cube(tmp_path / "out" / f"{name}.zarr").values for name in ("near", "a"))
    np.testing.assert_array_equal(near, local)


@pytest.mark.parametrize("text", ["[", "[1]", '{"features": 1}', "{}"])
def test_a_list_without_items_is_refused(tmp_path, text):
    (tmp_path / "items.json").write_text(text)
    with pytest.raises(FileFormatError, match="STAC items"):
        batch_scenes(tmp_path / "items.json")


def test_places_that_cannot_be_are_refused(scenes, tmp_path, model):
    with pytest.raises(MissingInputError, match="No folder of scenes and no list"):
        batch_scenes(tmp_path / "none")
    with pytest.raises(ParamsError, match="is the folder of the scenes"):
        Batch(scenes, scenes, model=str(model), suffix=".zarr", asset=None, options=BatchOptions())
    with pytest.raises(FileFormatError):
        Batch(scenes, tmp_path / "out", model=str(model), suffix=".png", asset=None, options=BatchOptions())
    assert not (tmp_path / "out").exists()
