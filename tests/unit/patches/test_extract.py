import numpy as np
import pytest
import xarray as xr

from hsipipe.degradation.bicubic import downsample
from hsipipe.degradation.pairs import pair_names, read_pair
from hsipipe.errors import DataError
from hsipipe.params import PatchesParams
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
    with pytest.raises(
        DataError, match=r"The train region of scene 'synthetic_0\d' has 48 x 48 pixels, less than a patch of 52 x 52"
    ):
        _extract(pairs, tmp_path / "p", size=52, stride=52)
