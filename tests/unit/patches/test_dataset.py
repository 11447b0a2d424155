import pickle

import numpy as np
import pytest

from hsipipe.errors import DataError, IntegrityError, MissingInputError
from hsipipe.params import PatchesParams
from hsipipe.patches import dataset as module
from hsipipe.patches.dataset import PatchArrays
from hsipipe.patches.extract import extract_patches


@pytest.fixture
def store(tmp_path, pairs):
    extract_patches(pairs, tmp_path, patches=PatchesParams(size=16, stride=16, shard=5))
    return tmp_path / "train.zarr"


@pytest.fixture
def count_reads(monkeypatch):
    calls = []
    original = module.read

    def counted(array, selection=...):
        calls.append((array.name, selection))
        return original(array, selection)

    monkeypatch.setattr(module, "read", counted)
    return calls


def test_any_order_with_repetition(store):
    patches = PatchArrays(store)
    every = patches.read(range(len(patches)))
    wanted = [17, 0, 5, 5, 4, 11]
    for name, values in patches.read(wanted).items():
        np.testing.assert_array_equal(values, every[name][wanted])
    assert len(patches) == 18
    assert patches.shape("lr") == (6, 4, 4)
    assert patches.attrs["scale"] == 4
    assert patches.read([])["hr"].shape == (0, 6, 16, 16)


def test_a_shard_is_decoded_once(store, count_reads):
    patches = PatchArrays(store, ("hr",))
    for _ in range(3):
        patches.read([0, 1, 7, 4])
    assert count_reads == [("/hr", slice(0, 5)), ("/hr", slice(5, 10))]


def test_a_store_larger_than_the_cache_is_read_patch_by_patch(store, count_reads):
    small = PatchArrays(store, ("hr",), cache_bytes=1000)
    np.testing.assert_array_equal(small.read([3, 9])["hr"], PatchArrays(store, ("hr",)).read([3, 9])["hr"])
    assert count_reads[:2] == [("/hr", 3), ("/hr", 9)]
    assert not small._shards


def test_a_worker_opens_its_own(store):
    patches = PatchArrays(store)
    expected = patches.read([2])["hr"]
    copy = pickle.loads(pickle.dumps(patches))
    assert copy._group is None
    assert not copy._shards
    np.testing.assert_array_equal(copy.read([2])["hr"], expected)


@pytest.mark.parametrize("wanted", [[-1], [0, 18]])
def test_numbers_out_of_range(store, wanted):
    with pytest.raises(DataError, match="has patches 0 to 17, got"):
        PatchArrays(store).read(wanted)


def test_damage_is_an_error_that_names_the_array(store, tmp_path):
    with pytest.raises(MissingInputError, match="No store"):
        len(PatchArrays(tmp_path / "none.zarr"))
    shard = store / "hr" / "c" / "1" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    PatchArrays(store).read([0])
    with pytest.raises(IntegrityError, match=r"train\.zarr/hr"):
        PatchArrays(store).read([5])
    shard.unlink()
    with pytest.raises(IntegrityError, match="hr/c/1/0/0/0 is missing"):
        PatchArrays(store).read([0])
