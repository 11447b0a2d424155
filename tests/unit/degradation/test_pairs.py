import itertools
import json

import numpy as np
import pytest
import xarray as xr

from hsipipe.artifacts import DegradedPairs
from hsipipe.datasets.prepare import open_scene
from hsipipe.degradation import pairs as module
from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.pairs import make_pairs, pair_names, read_pair
from hsipipe.degradation.srf import response
from hsipipe.errors import DataError, IntegrityError, MissingInputError
from hsipipe.formats import open_cube
from hsipipe.params import DegradationParams, SplitParams

SPLIT = {"by": "auto", "val": 0.2, "test": 0.2, "test_scenes": [], "val_scenes": [], "guard": 4, "seed": 0}
DEGRADATION = {"scale": 4, "crop_remainder": False, "srf": "rgb"}


def _make(scenes, out, *, split=None, degradation=None):
    out.mkdir()
    summary = make_pairs(
        scenes,
        out,
        split=SplitParams.model_validate(SPLIT | (split or {})),
        degradation=DegradationParams.model_validate(DEGRADATION | (degradation or {})),
    )
    return DegradedPairs(out), summary


def test_pairs_of_whole_scenes(tmp_path, make_scenes):
    scenes = make_scenes()
    pairs, summary = _make(scenes, tmp_path / "pairs")
    names = {part: pair_names(pairs, part) for part in ("train", "val", "test")}
    assert sorted(itertools.chain(*names.values())) == ["synthetic_00", "synthetic_01", "synthetic_02"]
    for part, (name,) in names.items():
        pair = read_pair(pairs, part, name)
        hr = open_scene(scenes, name).values
        np.testing.assert_array_equal(pair.hr, hr)
        np.testing.assert_allclose(pair.lr, downsample(hr, 4), atol=1e-6)
        srf = response("rgb", pair.wavelength_nm)
        np.testing.assert_allclose(pair.msi, np.einsum("cb,byx->cyx", srf, hr), atol=1e-6)
        assert {pair.hr.dtype, pair.lr.dtype, pair.msi.dtype} == {np.dtype(np.float32)}
    assert summary["bands"] == 6
    assert summary["msi_bands"] == 3
    assert summary["train_pixels"] == 48 * 48


def test_the_index(tmp_path, make_scenes):
    pairs, _ = _make(make_scenes(scenes=1, size=64), tmp_path / "pairs")
    tree = json.loads((pairs.path / "pairs.json").read_text())
    assert (tree["dataset"], tree["scale"], tree["srf"]) == ("synthetic", 4, "rgb")
    assert len(tree["wavelength_nm"]) == 6
    assert tree["splits"] == {
        "train": [{"name": "synthetic_00", "region": [0, 36, 0, 64]}],
        "val": [{"name": "synthetic_00", "region": [40, 64, 0, 28]}],
        "test": [{"name": "synthetic_00", "region": [40, 64, 32, 64]}],
    }


def test_a_region_is_degraded_as_if_there_were_nothing_around_it(tmp_path, make_scenes):
    scenes = make_scenes(scenes=1, size=64)
    pairs, _ = _make(scenes, tmp_path / "pairs")
    val = read_pair(pairs, "val", "synthetic_00")
    strip = open_scene(scenes, "synthetic_00").values[:, 40:64, :28]
    np.testing.assert_array_equal(val.hr, strip)
    np.testing.assert_allclose(val.lr, downsample(strip, 4), atol=1e-6)


def test_strips_do_not_show(tmp_path, make_scenes, monkeypatch):
    scenes = make_scenes()
    whole, _ = _make(scenes, tmp_path / "whole")
    monkeypatch.setattr(module, "rows_per_chunk", lambda shape, **options: 8)
    strips, _ = _make(scenes, tmp_path / "strips")
    name = pair_names(whole, "test")[0]
    a, b = read_pair(whole, "test", name), read_pair(strips, "test", name)
    np.testing.assert_array_equal(a.hr, b.hr)
    np.testing.assert_allclose(a.lr, b.lr, atol=1e-6)
    np.testing.assert_allclose(a.msi, b.msi, atol=1e-6)


def test_the_same_input_gives_the_same_bytes(tmp_path, make_scenes):
    scenes = make_scenes()
    first, _ = _make(scenes, tmp_path / "a")
    second, _ = _make(scenes, tmp_path / "b")
    files = [
        {path.relative_to(p.path): path.read_bytes() for path in p.path.rglob("*") if path.is_file()}
        for p in (first, second)
    ]
    assert files[0] == files[1]


def test_xarray_opens_a_pair(tmp_path, make_scenes):
    pairs, _ = _make(make_scenes(), tmp_path / "pairs")
    name = pair_names(pairs, "train")[0]
    dataset = xr.open_zarr(pairs.path / "train" / f"{name}.zarr", consolidated=False)
    assert dataset["hr"].dims == ("band", "y", "x")
    assert dataset["lr"].dims == ("band", "y_lr", "x_lr")
    assert dataset["msi"].dims == ("msi_band", "y", "x")


@pytest.mark.parametrize("split", [{}, {"by": "region"}])
def test_open_cube_opens_every_array_of_a_pair(tmp_path, make_scenes, split):
    pairs, _ = _make(make_scenes(), tmp_path / "pairs", split=split)
    name = pair_names(pairs, "val")[0]
    pair = read_pair(pairs, "val", name)
    for variable in ("hr", "lr", "msi"):
        cube = open_cube(pairs.path / "val" / f"{name}.zarr", variable=variable)
        np.testing.assert_array_equal(cube, getattr(pair, variable))
        if variable != "msi":
            np.testing.assert_array_equal(cube["wavelength_nm"], pair.wavelength_nm)


def test_the_remainder_is_an_error_or_cut(tmp_path, make_scenes):
    scenes = make_scenes(size=50)
    with pytest.raises(DataError, match=r"'synthetic_00' has 50 x 50 pixels, .*remainder of 2 x 2 at scale 4\. Set"):
        _make(scenes, tmp_path / "a")
    pairs, _ = _make(scenes, tmp_path / "b", degradation={"crop_remainder": True})
    assert read_pair(pairs, "test", pair_names(pairs, "test")[0]).hr.shape == (6, 48, 48)


def test_a_scene_smaller_than_a_pixel(tmp_path, make_scenes):
    with pytest.raises(DataError, match="less than one LR pixel of 16"):
        _make(make_scenes(size=12), tmp_path / "a", degradation={"scale": 16, "crop_remainder": True})


def test_changed_raw_data_is_not_used(tmp_path, make_scenes):
    scenes = make_scenes()
    file = next(iter(sorted(scenes.path.rglob("c/0/0/0"))))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="c/0/0/0: sha256"):
        _make(scenes, tmp_path / "pairs")


def test_names_that_are_not_there(tmp_path, make_scenes):
    with pytest.raises(MissingInputError, match="Run the stage degrade"):
        pair_names(DegradedPairs(tmp_path), "test")
    pairs, _ = _make(make_scenes(), tmp_path / "pairs")
    with pytest.raises(DataError, match="No split 'tests'; there are train, val, test"):
        pair_names(pairs, "tests")
    with pytest.raises(DataError, match="No scene 'x' in split 'test'; there are synthetic_"):
        read_pair(pairs, "test", "x")
