import json

import numpy as np
import pytest

from hsipipe.artifacts import Pair
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.evaluation import predicted
from hsipipe.evaluation.predicted import SUFFIX, PredictedCube, Window, choose_window
from hsipipe.viewer.components import Components, compress


def test_the_evaluation_keeps_the_predicted_cube(folders, pair):
    kept = PredictedCube.load(folders["bicubic"] / f"{pair.name}{SUFFIX}")
    sr = np.clip(upsample(pair.lr, 4), 0, 1)
    assert kept.window == Window(0, 0, 48, 48)
    assert np.abs(kept.components.cube() - sr).max() <= kept.components.max_error + 1e-6 < 5e-3
    cosine = (sr * pair.hr).sum(axis=0) / np.linalg.norm(sr, axis=0) / np.linalg.norm(pair.hr, axis=0)
    assert np.allclose(kept.angle_deg, np.degrees(np.arccos(np.clip(cosine, -1, 1))), atol=0.02)


def test_a_large_or_noisy_scene_is_kept_in_part(monkeypatch, tmp_path):
    monkeypatch.setattr(predicted, "MOST_PIXELS", 1 << 14)
    monkeypatch.setattr(predicted, "MOST_BYTES", 60_000)
    hr = np.random.default_rng(0).random((6, 64, 512), dtype=np.float32)
    pair = Pair("long", hr, downsample(hr, 4), None, None)
    kept = PredictedCube.of(pair, hr, 4)
    window = kept.window
    assert window.height * window.width <= 1 << 12
    assert (window.y % 4, window.x % 4, window.height % 4, window.width % 4) == (0, 0, 0, 0)
    kept.save(tmp_path / "long.cube.json")
    again = PredictedCube.load(tmp_path / "long.cube.json")
    assert again.window == window
    assert np.array_equal(again.components.codes, kept.components.codes)
    smooth = PredictedCube.of(pair, upsample(pair.lr, 4) * 0 + np.float32(0.5), 4)
    assert smooth.window.height * smooth.window.width > window.height * window.width


def test_the_part_lies_in_the_scene_and_on_lr_pixels():
    texture = np.zeros((2, 100, 40), np.float32)
    texture[:, 84:, ::2] = 1
    window = choose_window(texture, 400, 4)
    assert window == Window(76, window.x, 20, 20)
    assert window.x % 4 == 0
    assert window.cut(texture).shape == (2, 20, 20)
    assert window.cut(downsample(texture, 4), 4).shape == (2, 5, 5)
    assert choose_window(texture, 4000, 4) == Window(0, 0, 100, 40)
    inner = window.overlap(Window(84, 0, 16, 40))
    assert inner == Window(84, window.x, 12, 20)
    assert inner.within(window) == Window(8, 0, 12, 20)


def test_components_survive_a_file():
    cube = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    cube[:, 0, 0] = np.nan
    parts = compress(cube, 0.01)
    again = Components.from_tree(json.loads(json.dumps(parts.as_tree())))
    assert np.array_equal(again.cube(), parts.cube(), equal_nan=True)
    assert (again.step, again.max_error) == (parts.step, parts.max_error)


def test_missing_or_damaged_cubes_name_what_to_run(tmp_path, folders, pair):
    path = tmp_path / "scene.cube.json"
    with pytest.raises(MissingInputError, match="run the stage evaluate"):
        PredictedCube.load(path)
    tree = json.loads((folders["bicubic"] / f"{pair.name}{SUFFIX}").read_text(encoding="utf-8"))
    for change in ({"cube": {}}, {"angle": "AAAA"}, {"window": [1]}, {"cube": {**tree["cube"], "mean": "AAAA"}}):
        path.write_text(json.dumps({**tree, **change}), encoding="utf-8")
        with pytest.raises(FileFormatError, match="no predicted cube"):
            PredictedCube.load(path)
