"""Patches of pairs with pixels that have no data."""

import numpy as np
import pytest
from holes import with_holes

from hsipipe.artifacts import PatchStore
from hsipipe.artifacts.no_data import VALID
from hsipipe.errors import DataError
from hsipipe.params import PatchesParams
from hsipipe.patches.extract import extract_patches
from hsipipe.patches.grid import valid_shares


def cut(pairs, out, **changes):
    out.mkdir()
    settings = {"size": 16, "stride": 16, "shard": 5, "least_valid": 0.5, **changes}
    summary = extract_patches(pairs, out, patches=PatchesParams(**settings))
    return PatchStore(out), summary


def arrays(store, names=("hr", "lr", "msi", "valid", "origin")):
    patches = store.open("train", names)
    return patches.read(np.arange(len(patches)))


@pytest.fixture
def where():
    """The first patch has no data, the second in 6 of 16 columns, the last in a corner of one LR pixel."""
    where = np.zeros((48, 48), bool)
    where[:16, :16] = where[:16, 26:32] = where[44:, 44:] = True
    return where


def test_patches_with_too_few_pixels_are_skipped_and_the_others_filled(tmp_path, pairs, where):
    holed = with_holes(pairs, tmp_path / "pairs", where)
    store, summary = cut(holed, tmp_path / "p")
    assert (summary["train_patches"], summary["train_patches_without_data"]) == (2 * 8, 2)
    found, whole = arrays(store), arrays(cut(pairs, tmp_path / "q")[0], ("hr", "lr", "msi", "origin"))
    assert found["origin"][0].tolist() == [0, 0, 16]
    for number, (scene, y, x) in enumerate(found["origin"]):
        same = int(np.flatnonzero((whole["origin"] == (scene, y, x)).all(axis=1))[0])
        valid = ~where[y : y + 16, x : x + 16]
        assert np.array_equal(found[VALID][number, 0], valid)
        low = valid.reshape(4, 4, 4, 4).any(axis=(1, 3))
        for name, mask in (("hr", valid), ("msi", valid), ("lr", low)):
            assert np.array_equal(found[name][number][:, mask], whole[name][same][:, mask])
            assert np.isfinite(found[name][number]).all()
    # The second patch has data in its columns 0 to 9: in part of its third LR pixel, and in none of its fourth.
    mean = found["hr"][0][:, :4, 8:10].mean(axis=(1, 2))
    np.testing.assert_allclose(found["hr"][0][:, :4, 10:], np.broadcast_to(mean[:, None, None], (6, 4, 6)), rtol=1e-6)


def test_the_share_is_a_setting(tmp_path, pairs, where):
    holed = with_holes(pairs, tmp_path / "pairs", where)
    store, summary = cut(holed, tmp_path / "p", least_valid=1.0)
    assert summary["train_patches"] == 2 * 6
    # All that are left are complete.
    assert VALID not in store.open("train").names


def test_no_patch_with_enough_data(tmp_path, pairs):
    holed = with_holes(pairs, tmp_path / "pairs", np.indices((48, 48)).sum(axis=0) % 16 < 12)
    with pytest.raises(
        DataError, match=r"No train patch of 16 x 16 pixels has data in 50% of them. Lower patches.leas"
    ):
        cut(holed, tmp_path / "p")


def test_a_mark_without_a_hole_changes_no_byte(tmp_path, pairs):
    marked = with_holes(pairs, tmp_path / "pairs", np.zeros((48, 48), bool))
    for source, name in ((pairs, "p"), (marked, "q")):
        cut(source, tmp_path / name)
    files = [
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()} for n in "pq"
    ]
    assert list(files[0].values()) == list(files[1].values())


def test_shares_of_patches():
    valid = np.random.default_rng(0).random((40, 56)) < 0.6
    origins = np.array([[0, 0], [24, 40], [8, 12]])
    expected = [valid[y : y + 16, x : x + 16].mean() for y, x in origins]
    np.testing.assert_allclose(valid_shares(valid, origins, 16), expected)
