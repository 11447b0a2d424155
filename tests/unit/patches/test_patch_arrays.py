import pickle

import numpy as np
import pytest
import zarr

from hsipipe.artifacts.patch_arrays import PatchArrays, turn
from hsipipe.errors import DataError, IntegrityError, MissingInputError


def test_any_order_with_repetition(store):
    patches = PatchArrays(store, ("hr", "lr", "msi", "origin"))
    every = patches.read(range(len(patches)))
    wanted = [17, 0, 5, 5, 4, 11]
    for name, values in patches.read(wanted).items():
        np.testing.assert_array_equal(values, every[name][wanted])
    assert len(patches) == 18
    assert patches.shape("lr") == (6, 4, 4)
    assert patches.attrs["scale"] == 4
    assert patches.read([])["hr"].shape == (0, 6, 16, 16)


def test_they_are_what_zarr_reads(store):
    group = zarr.open_group(store, mode="r")
    for name, values in PatchArrays(store, ("hr", "lr", "msi", "origin")).read(range(18)).items():
        np.testing.assert_array_equal(values, group[name][...])


def test_all_arrays_of_a_patch_are_turned_alike(store):
    patches, numbers, codes = PatchArrays(store), [3] * 8 + [4], [*range(8), 7]
    upright, turned = patches.read(numbers), patches.read(numbers, codes=codes)
    for name, values in turned.items():
        for position, code in enumerate(codes):
            np.testing.assert_array_equal(values[position], turn(upright[name][position], code))
        assert values.flags.c_contiguous


def test_a_worker_opens_its_own(store):
    patches = PatchArrays(store)
    expected = patches.read([2])["hr"]
    assert len(pickle.dumps(patches)) < 1000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(patches)).read([2])["hr"], expected)


@pytest.mark.parametrize("wanted", [[-1], [0, 18]])
def test_numbers_out_of_range(store, wanted):
    with pytest.raises(DataError, match="has patches 0 to 17, got"):
        PatchArrays(store).read(wanted)


def test_one_code_a_patch(store):
    with pytest.raises(DataError, match="Expected one code per patch, got 2 patches and 1 codes"):
        PatchArrays(store).read([1, 2], codes=[0])


def test_damage_is_an_error_that_names_the_file(store, tmp_path):
    with pytest.raises(MissingInputError, match="No store"):
        len(PatchArrays(tmp_path / "none.zarr"))
    shard = store / "hr" / "c" / "1" / "0" / "0" / "0"
    early = PatchArrays(store)
    early.read([5])
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    for patches in (early, PatchArrays(store)):
        patches.read([0])
        with pytest.raises(IntegrityError, match=r"train\.zarr/hr/c/1/0/0/0: entry \d of /hr fails its checksum"):
            patches.read(range(5, 10))
    shard.unlink()
    with pytest.raises(IntegrityError, match="hr/c/1/0/0/0 is missing"):
        early.read([5])
    with pytest.raises(IntegrityError, match="hr/c/1/0/0/0 is missing"):
        PatchArrays(store).read([0])
