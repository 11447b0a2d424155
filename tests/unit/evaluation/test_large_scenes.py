"""Regions that are too large for the memory are scored from files, with the numbers of those in memory."""

import json

import numpy as np
import pytest
from holes import with_holes

from hsipipe.artifacts import pairs as pairs_module
from hsipipe.artifacts import views
from hsipipe.degradation import masked
from hsipipe.errors import DataError
from hsipipe.evaluation import evidence, prediction
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.contest import compare
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.predicted import PredictedCube
from hsipipe.evaluation.report import write_report
from hsipipe.methods.bicubic import Bicubic
from hsipipe.storage.stored_cube import StoredCube

TIMES = {"seconds_per_image"}


@pytest.fixture
def small_memory(monkeypatch):
    """Call it to keep every region in files, and read few rows at once."""

    def shrink():
        monkeypatch.setattr(pairs_module, "IN_MEMORY_BYTES", 0)
        monkeypatch.setattr(views, "WINDOW_BYTES", 1)
        monkeypatch.setattr(masked, "_WINDOW_BYTES", 1)

    return shrink


def holes():
    where = np.random.default_rng(1).random((48, 48)) < 0.1
    where[8:20, 12:30] = where[:, 40:44] = True
    return where


@pytest.fixture(scope="session")
def holed(pairs, tmp_path_factory):
    return with_holes(pairs, tmp_path_factory.mktemp("large") / "pairs", holes())


def numbers(tree):
    """The tree without what depends on the clock, or on the values in pixels without data."""
    rows = {
        scene: {row: {key: value for key, value in values.items() if key not in TIMES} for row, values in rows.items()}
        for scene, rows in tree["scenes"].items()
    }
    return rows, tree.get("val_mpsnr_db")


def same(one, other):
    one, other = json.loads(json.dumps(one)), json.loads(json.dumps(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other if not isinstance(one, float) else other == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("with_hole", [False, True])
@pytest.mark.parametrize("kind", ["net", "bicubic", "pair", "samples"])
def test_scores_of_files_are_those_of_memory(pairs, holed, scored, net, small_memory, kind, with_hole):
    methods = {
        "net": net(bounds=True),
        "bicubic": Bicubic(4),
        "pair": net(fuses=True),
        "samples": net(varied=True),
    }
    source = holed if with_hole else pairs
    (_, whole) = scored(methods[kind], of=source)
    small_memory()
    folder, parts = scored(methods[kind], of=source)
    assert same(numbers(whole), numbers(parts))
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
    if not with_hole:
        assert whole["test_set"] == parts["test_set"]


@pytest.mark.parametrize("with_hole", [False, True])
def test_a_region_in_files_is_filled_like_one_in_memory(pairs, holed, small_memory, tmp_path, with_hole):
    source = holed if with_hole else pairs
    name = source.names("test")[0]
    whole = source.read("test", name)
    small_memory()
    stored = source.read("test", name, folder=tmp_path)
    assert isinstance(stored.hr, StoredCube)
    for image in ("lr", "msi"):
        assert np.asarray(getattr(stored, image)).tobytes() == getattr(whole, image).tobytes()
    seen = source.look("test", name)
    for cube in (stored, seen):
        assert np.array_equal(np.asarray(cube.opened(cube.hr)), np.asarray(whole.opened(whole.hr)), equal_nan=True)
        assert np.array_equal(cube.valid is None, whole.valid is None)


def test_the_gate_has_the_scores_of_memory(holed, protocol, sampling, net, small_memory):
    models = (net(), Bicubic(4))
    whole = compare(models, holed, protocol=protocol, sampling=sampling)
    small_memory()
    parts = compare(models, holed, protocol=protocol, sampling=sampling)
    assert same(whole.scores, parts.scores)


def test_evidence_and_cube_are_those_of_memory(holed, scored, net, small_memory):
    (whole, _) = scored(net(), of=holed)
    small_memory()
    (parts, _) = scored(net(), of=holed)
    for name in holed.names("test"):
        one, other = (SceneEvidence.load(folder / f"{name}.npz") for folder in (whole, parts))
        for key, values in vars(one).items():
            np.testing.assert_allclose(vars(other)[key], values, rtol=1e-3, atol=1, err_msg=key)
        one, other = (PredictedCube.load(folder / f"{name}.cube.json") for folder in (whole, parts))
        assert one.window == other.window
        np.testing.assert_allclose(other.components.cube(), one.components.cube(), atol=0.01)


def test_a_method_of_whole_scenes_that_does_not_fit_is_refused(pairs, small_memory, monkeypatch, sampling, tmp_path):
    class Whole(Bicubic):
        context = 0

    small_memory()
    monkeypatch.setattr("hsipipe.memory.available_memory", lambda: (1000, 1000))
    pair = pairs.read("test", pairs.names("test")[0], folder=tmp_path)
    with pytest.raises(DataError, match=r"as one image needs about .* divide the scene by split"):
        prediction.predict_pair(Whole(4), pair, msi=None, sampling=sampling, limits=(0, 1), folder=tmp_path)


@pytest.mark.parametrize(
    ("kind", "told"),
    [("samples", "samples of .* as one image needs about"), ("bounds", "-ceiling of .* as one image")],
)
def test_what_does_not_fit_is_refused_before_the_first_prediction(scored, net, monkeypatch, kind, told):
    method = net(varied=True) if kind == "samples" else net(bounds=True)
    predicted = []
    monkeypatch.setattr(type(method), "predict", lambda *args, **more: predicted.append(args))
    monkeypatch.setattr("hsipipe.memory.available_memory", lambda: (1000, 1000))
    with pytest.raises(DataError, match=f"{told}.* divide the scene by split"):
        scored(method)
    assert predicted == []


def test_pictures_of_a_large_scene_are_thinned(pairs, scored, net, monkeypatch, tmp_path):
    monkeypatch.setattr(evidence, "MOST_EDGE", 20)
    folder, tree = scored(net(varied=True))
    name = pairs.names("test")[0]
    seen = SceneEvidence.load(folder / f"{name}.npz")
    pair = pairs.read("test", name)
    assert (int(seen.step), seen.hr_rgb.shape, seen.error.shape) == (3, (16, 16, 3), (1, 16, 16))
    y, x = seen.pixels.T
    np.testing.assert_array_equal(seen.hr_spectra, pair.hr[:, y, x].T)
    metrics = compare_scores([RowScores("dmgasr", [tree])])
    write_report({"dmgasr": folder}, metrics, tmp_path, pairs=pairs)
    assert (tmp_path / "index.html").is_file()
