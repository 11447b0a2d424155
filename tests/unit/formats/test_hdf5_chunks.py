"""Chunks of HDF5: the values of every filter, and a refusal of each chunk that does not have its size."""

import struct
import zlib

import h5py
import numpy as np
import pytest

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube

VALUES = np.random.default_rng(0).normal(size=(10, 9, 11))
CHUNK = (4, 5, 6)


def write(path, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=VALUES.astype("f4"), chunks=CHUNK, **options)


def damage(path, data, mask=0, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", VALUES.shape, "f4", chunks=CHUNK, **options)
        file["cube"].id.write_direct_chunk((0, 0, 0), data, mask)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<i2", ">u2", "i1"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("fletcher32", [False, True])
@pytest.mark.parametrize("compression", [None, "gzip", "lzf", "szip"])
def test_values_are_those_of_libhdf5(tmp_path, compression, fletcher32, shuffle, kind):
    stored = (10 * VALUES).clip(0).astype(kind)
    options = {"compression": compression, "fletcher32": fletcher32, "shuffle": shuffle}
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file.create_dataset("cube", data=stored, chunks=CHUNK, **options)
    with h5py.File(tmp_path / "cube.h5") as file:
        expected = file["cube"][()].astype("f4")
    cube = open_cube(tmp_path / "cube.h5", bands=10)
    np.testing.assert_array_equal(cube, expected)
    np.testing.assert_array_equal(cube[3:9:2, 4:6, ::-1], expected[3:9:2, 4:6, ::-1])


@pytest.mark.parametrize("written", [False, True])
def test_missing_chunks_have_the_fill_value(tmp_path, written):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        data = file.create_dataset("cube", VALUES.shape, "f4", chunks=CHUNK, compression="gzip", fillvalue=7)
        if written:
            data[:4] = VALUES[:4]
    cube = open_cube(tmp_path / "cube.h5", bands=10).to_numpy()
    assert (cube[4:] == 7).all()
    np.testing.assert_array_equal(cube[:4], VALUES[:4].astype("f4") if written else 7)


def test_a_chunk_that_a_filter_skipped_is_read(tmp_path):
    chunk = np.arange(120, dtype="f4").reshape(CHUNK)
    damage(tmp_path / "cube.h5", chunk.tobytes(), 0b11, shuffle=True, compression="gzip")
    np.testing.assert_array_equal(open_cube(tmp_path / "cube.h5", bands=10)[:4, :5, :6], chunk)


def test_numbers_of_fewer_bits_are_converted(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        kind = h5py.h5t.STD_I32LE.copy()
        kind.set_precision(24)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(CHUNK)
        plist.set_deflate(4)
        made = h5py.h5d.create(file.id, b"cube", kind, h5py.h5s.create_simple(VALUES.shape), plist)
        h5py.Dataset(made)[...] = (1000 * VALUES).astype("i4")
    np.testing.assert_array_equal(open_cube(tmp_path / "cube.h5", bands=10), (1000 * VALUES).astype("i4"))


@pytest.mark.parametrize(
    ("data", "mask", "options"),
    [
        (zlib.compress(bytes(481)), 0, {"compression": "gzip"}),
        (zlib.compress(bytes(100)), 0, {"compression": "gzip"}),
        (bytes(100), 1, {"compression": "gzip"}),
        (b"ab", 0, {"fletcher32": True}),
        (b"ab", 0, {"compression": "lzf", "fletcher32": True}),
        (b"\0\0" + b"\xe0\xff\0" * 9, 0, {"compression": "lzf"}),
        (struct.pack("<I", 16) + bytes(100), 0, {"compression": "szip"}),
        (struct.pack("<I", 2**31 - 1) + bytes(100), 0, {"compression": "szip"}),
    ],
)
def test_a_chunk_that_does_not_have_its_size_is_refused(tmp_path, data, mask, options):
    damage(tmp_path / "cube.h5", data, mask, **options)
    with pytest.raises(FileFormatError, match=r"a chunk of '/cube' holds \d+ bytes, expected 48\d; it is damaged"):
        open_cube(tmp_path / "cube.h5", bands=10).load()


@pytest.mark.parametrize("suffix", [".h5", ".nc", ".mat"])
def test_a_filter_without_a_bound_is_refused(tmp_path, suffix):
    with h5py.File(tmp_path / f"cube{suffix}", "w") as file:
        file.create_dataset("cube", data=VALUES.astype("i4"), chunks=CHUNK, scaleoffset=0)
    with pytest.raises(FileFormatError, match="'scaleoffset', whose output has no bound; repack it: h5repack"):
        open_cube(tmp_path / f"cube{suffix}", bands=10).load()


def test_two_compressors_are_refused(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(CHUNK)
        plist.set_deflate(4)
        plist.set_deflate(9)
        h5py.h5d.create(file.id, b"cube", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(VALUES.shape), plist)
    with pytest.raises(FileFormatError, match="packed twice"):
        open_cube(tmp_path / "cube.h5", bands=10)


def test_countless_tiny_chunks_are_refused(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file.create_dataset("cube", (64, 64, 64), "f4", chunks=(1, 1, 1))
    with pytest.raises(FileFormatError, match="262144 chunks of 4 bytes; repack it"):
        open_cube(tmp_path / "cube.h5", bands=64)


def test_names_of_one_data_set_share_it(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"], file["wavelength"] = VALUES, np.arange(400, 500, 10.0)
        file["again"] = file["cube"]
    np.testing.assert_array_equal(open_cube(tmp_path / "cube.h5", variable="again"), VALUES.astype("f4"))


def test_attributes_that_together_are_large_are_skipped(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w", libver="latest") as file:
        file["cube"] = VALUES
        for number in range(10):
            file["cube"].attrs[f"a{number}"] = np.ones(1 << 20)
    kept = [name for name in open_cube(tmp_path / "cube.h5", bands=10).attrs if name.startswith("a")]
    assert 0 < len(kept) < 10


def point_back(path, kind, key):
    """Let the first child of each node above the leaves be the node itself."""
    data = bytearray(path.read_bytes())
    place, count = data.find(b"TREE%c" % kind), 0
    while place >= 0:
        if data[place + 5]:
            struct.pack_into("<Q", data, place + 24 + key, place)
            count += 1
        place = data.find(b"TREE%c" % kind, place + 1)
    assert count
    path.write_bytes(data)


def test_a_tree_of_groups_that_leads_back_is_refused(tmp_path):
    write(tmp_path / "cube.h5")
    with h5py.File(tmp_path / "cube.h5", "r+") as file:
        for number in range(500):
            file.create_group(f"g{number}")
    point_back(tmp_path / "cube.h5", 0, 8)
    with pytest.raises(FileFormatError, match="leads back to itself"):
        open_cube(tmp_path / "cube.h5", bands=10)


def test_a_tree_of_chunks_that_leads_back_is_refused(tmp_path):
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file.create_dataset("cube", data=np.zeros((64, 32, 32), "f4"), chunks=(1, 8, 8))
    point_back(tmp_path / "cube.h5", 1, 40)
    with pytest.raises(FileFormatError, match="leads back to itself"):
        open_cube(tmp_path / "cube.h5", bands=64)


def test_a_text_that_claims_to_be_huge_is_refused(tmp_path):
    write(tmp_path / "cube.h5")
    with h5py.File(tmp_path / "cube.h5", "r+") as file:
        file["cube"].attrs["title"] = "x" * 777
    data = (tmp_path / "cube.h5").read_bytes()
    (tmp_path / "cube.h5").write_bytes(data.replace(struct.pack("<I", 777), struct.pack("<I", 0xF0000000)))
    with pytest.raises(FileFormatError, match="a text claims 4026531840 bytes"):
        open_cube(tmp_path / "cube.h5", bands=10)
