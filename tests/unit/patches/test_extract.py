import numpy as np
import pytest
import xarray as xr

from hsipipe.artifacts import PatchStore
from hsipipe.degradation.bicubic import downsample
from hsipipe.errors import DataError
from hsipipe.params import PatchesParams
from hsipipe.patches.extract import extract_patches
from hsipipe.patches.stitch import stitch
from hsipipe.storage.stores import open_store


def _extract(pairs, out, *, size=20, stride=16, shard=5, least_valid=0.5):
    out.mkdir()
    return extract_patches(
        pairs, out, patches=PatchesParams(size=size, stride=stride, shard=shard, least_valid=least_valid)
    )


def test_patches_are_cuts_of_the_pairs(tmp_path, pairs):
    summary = _extract(pairs, tmp_path / "p")
    assert summary["train_patches"] == 2 * 9
    assert summary["test_patches"] == 9
    for part in ("train", "val", "test"):
        patches = PatchStore(tmp_path / "p").open(part, ("hr", "lr", "msi", "origin"))
        cut = patches.read(np.arange(len(patches)))
        scenes = [pairs.read(part, name) for name in pairs.names(part)]
        for number, (scene, y, x) in enumerate(cut["origin"]):
            pair = scenes[scene]
            np.testing.assert_array_equal(cut["hr"][number], pair.hr[:, y : y + 20, x : x + 20])
            np.testing.assert_array_equal(cut["msi"][number], pair.msi[:, y : y + 20, x : x + 20])
            y, x = y // 4, x // 4
            np.testing.assert_array_equal(cut["lr"][number], pair.lr[:, y : y + 5, x : x + 5])


def test_lr_is_what_hr_degrades_to_away_from_the_border(tmp_path, pairs):
    _extract(pairs, tmp_path / "p", size=48, stride=48)
    patches = PatchStore(tmp_path / "p").open("test").read([0])
    np.testing.assert_allclose(patches["lr"], downsample(patches["hr"], 4), atol=1e-6)


def test_the_store_describes_itself(tmp_path, pairs):
    _extract(pairs, tmp_path / "p")
    dataset = xr.open_zarr(tmp_path / "p" / "train.zarr", consolidated=False)
    assert dataset["hr"].dims == ("patch", "band", "y", "x")
    assert dataset["lr"].dims == ("patch", "band", "y_lr", "x_lr")
    assert dataset["msi"].dims == ("patch", "msi_band", "y", "x")
    assert dataset.attrs["scale"] == 4
    assert dataset.attrs["scenes"] == pairs.names("train")
    assert len(dataset.attrs["wavelength_nm"]) == 6
    np.testing.assert_array_equal(dataset.attrs["response"], pairs.response())


def test_one_file_a_shard(tmp_path, pairs):
    _extract(pairs, tmp_path / "p", shard=5)
    files = sorted(path.name for path in (tmp_path / "p" / "train.zarr" / "hr" / "c").iterdir())
    assert files == ["0", "1", "2", "3"]
    _extract(pairs, tmp_path / "q", shard=100)
    assert len(list((tmp_path / "q" / "train.zarr" / "hr" / "c").iterdir())) == 1


def test_the_shard_does_not_change_the_patches(tmp_path, pairs):
    _extract(pairs, tmp_path / "a", shard=1)
    _extract(pairs, tmp_path / "b", shard=100)
    a, b = (PatchStore(tmp_path / name).open("train").read(range(18)) for name in "ab")
    for name, values in a.items():
        np.testing.assert_array_equal(values, b[name])


def test_a_region_smaller_than_a_patch(tmp_path, pairs):
    with pytest.raises(DataError) as caught:
        _extract(pairs, tmp_path / "p", size=52, stride=52)
    message = str(caught.value)
    for part in ("train", "val", "test"):
        for name in pairs.names(part):
            assert f"the {part} region {name!r} (48 x 48)" in message
    assert "Set patches.size to 48 or less" in message
    assert list((tmp_path / "p").iterdir()) == []


def test_one_scene_cut_into_regions_gives_patches_of_the_size_that_the_message_names(tmp_path, build_pairs):
    split = {"by": "auto", "val": 0.17, "test": 0.17, "guard": 16}
    pairs = build_pairs(scenes=1, size=128, split=split)
    with pytest.raises(
        DataError, match=r"val region .*\(40 x 56\), the test region .*\(40 x 56\)\. Set .* to 40 or less"
    ):
        _extract(pairs, tmp_path / "p", size=64, stride=48)
    summary = _extract(pairs, tmp_path / "q", size=40, stride=40)
    assert {part: summary[f"{part}_patches"] for part in ("train", "val", "test")} == {"train": 8, "val": 2, "test": 2}


def test_without_an_msi_there_are_none_of_its_patches(tmp_path, build_pairs):
    pairs = build_pairs(scenes=3, size=32, degradation={"srf": None})
    _extract(pairs, tmp_path / "p", size=16, stride=16)
    group = open_store(tmp_path / "p" / "train.zarr")
    assert set(group.array_keys()) == {"hr", "lr", "origin"}
    assert PatchStore(tmp_path / "p").open("train").read([0])["hr"].shape == (1, 6, 16, 16)


def test_several_regions_of_one_scene_in_one_part(tmp_path, build_pairs):
    train = ["synthetic_00@0:32x0:32", "synthetic_00@40:60x32:64"]
    regions = {"train": train, "val": ["synthetic_00@0:24x40:64"], "test": ["synthetic_00@40:64x0:24"]}
    pairs = build_pairs(scenes=1, size=64, split={"by": "listed", "guard": 8, "regions": regions})
    names = pairs.names("train")
    assert len(set(names)) == 2
    _extract(pairs, tmp_path / "p", size=16, stride=16)
    patches = PatchStore(tmp_path / "p").open("train", ("hr", "origin"))
    assert patches.attrs["scenes"] == names
    cut = patches.read(range(len(patches)))
    for number, name in enumerate(names):
        mine = cut["origin"][:, 0] == number
        hr = pairs.read("train", name).hr
        np.testing.assert_array_equal(stitch(cut["hr"][mine], cut["origin"][mine, 1:], hr.shape[1:]), hr)


def test_all_patches_of_a_scene_stitched_are_the_scene(tmp_path, pairs):
    _extract(pairs, tmp_path / "p", size=20, stride=16)
    patches = PatchStore(tmp_path / "p").open("test", ("hr", "lr", "msi", "origin"))
    cut, pair = patches.read(range(len(patches))), pairs.read("test", pairs.names("test")[0])
    corners = cut["origin"][:, 1:]
    for name, scale in (("hr", 1), ("lr", 4), ("msi", 1)):
        scene = getattr(pair, name)
        np.testing.assert_array_equal(stitch(cut[name], corners // scale, scene.shape[1:]), scene)
