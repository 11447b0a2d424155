import numpy as np
import pytest
import xarray as xr

from hsipipe.artifacts import DegradedPairs, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.pairs import make_pairs, pair_names, read_pair
from hsipipe.errors import DataError
from hsipipe.params import DatasetParams, DegradationParams, PatchesParams, SplitParams
from hsipipe.patches.dataset import PatchArrays
from hsipipe.patches.extract import extract_patches


def _extract(pairs, out, *, size=20, stride=16, shard=5):
    out.mkdir()
    return extract_patches(pairs, out, patches=PatchesParams(size=size, stride=stride, shard=shard))


def test_patches_are_cuts_of_the_pairs(tmp_path, pairs):
    summary = _extract(pairs, tmp_path / "p")
    assert summary["train_patches"] == 2 * 9
    assert summary["test_patches"] == 9
    for part in ("train", "val", "test"):
        patches = PatchArrays(tmp_path / "p" / f"{part}.zarr", ("hr", "lr", "msi", "origin"))
        cut = patches.read(np.arange(len(patches)))
        scenes = [read_pair(pairs, part, name) for name in pair_names(pairs, part)]
        for number, (scene, y, x) in enumerate(cut["origin"]):
            pair = scenes[scene]
            np.testing.assert_array_equal(cut["hr"][number], pair.hr[:, y : y + 20, x : x + 20])
            np.testing.assert_array_equal(cut["msi"][number], pair.msi[:, y : y + 20, x : x + 20])
            y, x = y // 4, x // 4
            np.testing.assert_array_equal(cut["lr"][number], pair.lr[:, y : y + 5, x : x + 5])


def test_lr_is_what_hr_degrades_to_away_from_the_border(tmp_path, pairs):
    _extract(pairs, tmp_path / "p", size=48, stride=48)
    patches = PatchArrays(tmp_path / "p" / "test.zarr", ("hr", "lr")).read([0])
    np.testing.assert_allclose(patches["lr"], downsample(patches["hr"], 4), atol=1e-6)


def test_the_store_describes_itself(tmp_path, pairs):
    _extract(pairs, tmp_path / "p")
    dataset = xr.open_zarr(tmp_path / "p" / "train.zarr", consolidated=False)
    assert dataset["hr"].dims == ("patch", "band", "y", "x")
    assert dataset["lr"].dims == ("patch", "band", "y_lr", "x_lr")
    assert dataset["msi"].dims == ("patch", "msi_band", "y", "x")
    assert dataset.attrs["scale"] == 4
    assert dataset.attrs["scenes"] == pair_names(pairs, "train")
    assert len(dataset.attrs["wavelength_nm"]) == 6


def test_one_file_a_shard(tmp_path, pairs):
    _extract(pairs, tmp_path / "p", shard=5)
    files = sorted(path.name for path in (tmp_path / "p" / "train.zarr" / "hr" / "c").iterdir())
    assert files == ["0", "1", "2", "3"]
    _extract(pairs, tmp_path / "q", shard=100)
    assert len(list((tmp_path / "q" / "train.zarr" / "hr" / "c").iterdir())) == 1


def test_the_shard_does_not_change_the_patches(tmp_path, pairs):
    _extract(pairs, tmp_path / "a", shard=1)
    _extract(pairs, tmp_path / "b", shard=100)
    a, b = (PatchArrays(tmp_path / name / "train.zarr").read(range(18)) for name in "ab")
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name])


def test_a_region_smaller_than_a_patch(tmp_path, pairs):
    with pytest.raises(DataError) as caught:
        _extract(pairs, tmp_path / "p", size=52, stride=52)
    message = str(caught.value)
    for part in ("train", "val", "test"):
        for name in pair_names(pairs, part):
            assert f"the {part} region of scene {name!r} (48 x 48)" in message
    assert "Set patches.size to 48 or less" in message
    assert list((tmp_path / "p").iterdir()) == []


def test_one_scene_cut_into_regions_gives_patches_of_the_size_that_the_message_names(tmp_path):
    for name in ("raw", "pairs", "p"):
        (tmp_path / name).mkdir()
    synthetic = {"scenes": 1, "size": 128, "bands": 4, "seed": 0}
    dataset = {"name": "synthetic", "root": None, "synthetic": synthetic}
    prepare_scenes(DatasetParams.model_validate(dataset), tmp_path / "raw")
    split = {"by": "auto", "val": 0.17, "test": 0.17, "test_scenes": [], "val_scenes": [], "guard": 16, "seed": 0}
    make_pairs(
        RawScenes(tmp_path / "raw"),
        tmp_path / "pairs",
        split=SplitParams.model_validate(split),
        degradation=DegradationParams(scale=4, crop_remainder=False, srf="rgb"),
    )
    pairs = DegradedPairs(tmp_path / "pairs")
    with pytest.raises(
        DataError, match=r"val region .*\(40 x 56\), the test region .*\(40 x 56\)\. Set .* to 40 or less"
    ):
        extract_patches(pairs, tmp_path / "p", patches=PatchesParams(size=64, stride=48, shard=64))
    summary = extract_patches(pairs, tmp_path / "p", patches=PatchesParams(size=40, stride=40, shard=64))
    assert {part: summary[f"{part}_patches"] for part in ("train", "val", "test")} == {"train": 8, "val": 2, "test": 2}
