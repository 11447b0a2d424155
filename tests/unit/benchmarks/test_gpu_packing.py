import numpy as np
import pytest

from hsipipe.errors import DataError, MissingInputError


def test_differences_that_wrap_around_come_back():
    from packing import decode, encode

    cube = np.random.default_rng(0).integers(0, 65536, size=(31, 5, 7)).astype(np.uint16)
    cube[:2, 0] = [[0] * 7, [65535] * 7]
    np.testing.assert_array_equal(decode(encode(cube)), cube)


def test_scenes_come_back_without_loss_whatever_their_depth(tmp_path, cave_folder):
    from packing import FULL_SCALE, pack, unpack

    root, values = cave_folder
    pack(root, tmp_path / "packed")
    (tmp_path / "scenes").mkdir()
    assert unpack(tmp_path / "packed", tmp_path / "scenes") == sorted(values)
    for name, expected in values.items():
        found = np.load(tmp_path / "scenes" / f"{name}.npy")
        assert found.dtype == np.uint16
        np.testing.assert_array_equal((found / FULL_SCALE).astype(np.float32), expected)


def test_a_trial_takes_few_scenes_and_their_corners(tmp_path, cave_folder):
    from packing import FULL_SCALE, pack, unpack

    root, values = cave_folder
    assert list(pack(root, tmp_path / "packed", scenes=2, edge=8)) == ["beads.packed.npz", "watercolors.packed.npz"]
    (tmp_path / "scenes").mkdir()
    unpack(tmp_path / "packed", tmp_path / "scenes")
    found = np.load(tmp_path / "scenes" / "beads.npy")
    np.testing.assert_array_equal((found / FULL_SCALE).astype(np.float32), values["beads"][:, :8, :8])


def test_smooth_scenes_become_smaller():
    import zlib

    from packing import encode

    ramp = np.arange(64, dtype=np.uint16) * 300
    cube = np.broadcast_to(ramp, (31, 64, 64)) + (np.arange(31, dtype=np.uint16) * 17)[:, None, None]
    cube = np.ascontiguousarray(cube.astype(np.uint16))
    assert len(zlib.compress(encode(cube).tobytes())) < len(zlib.compress(cube.tobytes())) / 2


def test_a_file_that_is_too_large_to_carry_is_refused(tmp_path, cave_folder, monkeypatch):
    import packing

    monkeypatch.setattr(packing, "LIMIT_BYTES", 1000)
    with pytest.raises(DataError, match="expected at most 1000; pack with --edge"):
        packing.pack(cave_folder[0], tmp_path / "packed")


@pytest.mark.parametrize("function", ["pack", "unpack"])
def test_a_folder_without_scenes_is_named(tmp_path, function):
    import packing

    (tmp_path / "nothing").mkdir()
    with pytest.raises(MissingInputError, match="nothing"):
        getattr(packing, function)(tmp_path / "nothing", tmp_path / "out")
