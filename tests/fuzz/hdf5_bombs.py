"""HDF5 files of at most 1 MB that claim or unpack to far more, or end libhdf5."""

import re
import struct
import zlib
from functools import partial

import h5py
import numpy as np


def _hdf5(path, *, shape=(40, 2000, 1000), chunks=(40, 2000, 1000), extra=0):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("cube", shape=shape, chunks=chunks, dtype="f4", compression="gzip")
        data[0, 0, 0] = 1
        for number in range(extra):
            file.create_dataset(f"wavelength{number}", shape=(1 << 20,), dtype="f8", fillvalue=1.0)


def _packed_hdf5(path, fill, *, values=1 << 25, kind="f8", links=0):
    """A vector of few values whose only chunk is large, under several names."""
    with h5py.File(path, "w") as file:
        file["cube"] = np.zeros((4, 8, 8), "f4")
        data = file.create_dataset(fill, shape=(4,), maxshape=(None,), chunks=(values,), dtype=kind, compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(256 << 20), 9))
        for number in range(links):
            file[f"w{number}"] = data
        if links == 0:
            data.resize((4096,))


def _chunk_hdf5(path, data, mask=0, **filters):
    """A chunk of 4 MB with these stored bytes."""
    with h5py.File(path, "w") as file:
        cube = file.create_dataset("cube", (4, 512, 512), "f4", chunks=(4, 512, 512), **filters)
        cube.id.write_direct_chunk((0, 0, 0), data, mask)


def _names_hdf5(path, count=25_000):
    """A cube of many names, whose attribute is large."""
    with h5py.File(path, "w", libver="latest") as file:
        file["cube"] = np.zeros((4, 8, 8), "f4")
        file["cube"].attrs["a"] = np.zeros(20_000)
        for number in range(count):
            file[f"{number:x}"] = file["cube"]


def _scales_hdf5(path, count=2500):
    """Many vectors along one dimension scale."""
    with h5py.File(path, "w", libver="latest") as file:
        file["cube"], file["scale"] = np.zeros((4, 8, 8), "f4"), np.zeros(8)
        file["scale"].make_scale()
        for number in range(count):
            file.create_dataset(f"v{number}", (8,), "f4").dims[0].attach_scale(file["scale"])


def _patched_hdf5(path, find, new, *, attribute="b", **options):
    """A file, some bytes of which are replaced wherever they are."""
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", (64, 32, 32), "f4", chunks=(1, 8, 8), data=np.zeros((64, 32, 32), "f4"), **options)
        file["cube"].attrs["a"] = attribute
        for number in range(500):
            file.create_group(f"g{number}")
    data = bytearray(path.read_bytes())
    for place in [found.start() for found in re.finditer(re.escape(find), data)]:
        new(data, place)
    path.write_bytes(data)


def _turn_back(data, place, *, key):
    """Let the first child of a node of a tree be the node itself."""
    if data[place + 5]:
        struct.pack_into("<Q", data, place + 24 + key, place)


def _attribute(path, count=4000, length=500_000):
    """All entries of an attribute refer to one long text."""
    with h5py.File(path, "w") as file:
        file["cube"] = np.zeros((4, 8, 8), "f4")
        texts = ["x" * length, *(f"y{number}" for number in range(count - 1))]
        file["cube"].attrs["t"] = np.array(texts, dtype=object)
    data, mark = bytearray(path.read_bytes()), struct.pack("<I", length)
    at = data.find(mark)
    while data[at + 16 : at + 20] != struct.pack("<I", 2):
        at = data.find(mark, at + 1)
    data[at : at + 16 * count] = bytes(data[at : at + 16]) * count
    path.write_bytes(data)


HDF5_BOMBS = {
    "chunk.h5": _hdf5,
    "vectors.h5": lambda path: _hdf5(path, shape=(16, 8, 1 << 20), chunks=(4, 8, 4096), extra=400),
    "links.h5": lambda path: _packed_hdf5(path, "wavelength", links=30),
    "words.h5": lambda path: _packed_hdf5(path, "band_name", values=1 << 24, kind=h5py.string_dtype()),
    "attribute.h5": _attribute,
    "deflate.h5": lambda path: _chunk_hdf5(path, zlib.compress(bytes(900 << 20), 9), compression="gzip"),
    "short.h5": lambda path: _chunk_hdf5(path, zlib.compress(bytes(100)), compression="gzip"),
    "masked.h5": lambda path: _chunk_hdf5(path, bytes(100), 1, compression="gzip"),
    "plain.h5": lambda path: _chunk_hdf5(path, bytes(100)),
    "checksum.h5": lambda path: _chunk_hdf5(path, b"ab", fletcher32=True),
    "lzf.h5": lambda path: _chunk_hdf5(path, b"\0\0" + b"\xe0\xff\0" * 300_000, compression="lzf"),
    "szip.h5": lambda path: _chunk_hdf5(path, struct.pack("<I", 16) + bytes(100), compression="szip"),
    "szip_2gb.h5": lambda path: _chunk_hdf5(path, struct.pack("<I", 2**31 - 1) + bytes(100), compression="szip"),
    "scaleoffset.h5": lambda path: _chunk_hdf5(path, bytes(range(256)) * 4, scaleoffset=4),
    "names.h5": _names_hdf5,
    "scales.h5": _scales_hdf5,
    "text.h5": lambda path: _patched_hdf5(
        path, struct.pack("<I", 777), lambda data, at: struct.pack_into("<I", data, at, 0xF0000000), attribute="x" * 777
    ),
    "groups.h5": lambda path: _patched_hdf5(path, b"TREE\0", partial(_turn_back, key=8)),
    "tree.h5": lambda path: _patched_hdf5(path, b"TREE\1", partial(_turn_back, key=40), compression="gzip"),
}  # fmt: skip
"""Writer of each input by its name."""
