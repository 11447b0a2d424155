"""Inputs of at most 1 MB that claim or unpack to far more."""

import bz2
import gzip
import json
import lzma
import struct
import zipfile
import zlib

import h5py
import numcodecs
import numpy as np
import scipy.io
import tifffile
from PIL import Image

GB = 1 << 30


def _tiff(path, entries, extra, order="<"):
    body = struct.pack(order + "H", len(entries)) + b"".join(struct.pack(order + "HHII", *e) for e in sorted(entries))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 0) + extra)


def _wide(path, *, width=100_000_000, height=1, samples=1):
    """One row with a position: coordinates alone fill the memory."""
    base = 8 + 2 + 12 * 13 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, base + 72),
        (277, 3, 1, samples), (278, 4, 1, height), (279, 4, 1, 10), (284, 3, 1, 1), (339, 3, 1, 1),
        (33550, 12, 3, base), (33922, 12, 6, base + 24),
    ]  # fmt: skip
    _tiff(path, entries, struct.pack("<3d", 1, 1, 0) + struct.pack("<6d", 0, 0, 0, 10, 10, 0) + bytes(16))


def _pages(path, *, count, strips, shared=True):
    size = 2 + 12 * 9 + 4
    table, own = 8 + count * size, 8 * strips
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(count):
        at = table if shared or strips == 1 else table + page * own
        entries = [
            (256, 4, 1, 16), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, strips, at), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, at + own // 2 if strips > 1 else 0),
        ]  # fmt: skip
        last = page == count - 1
        data += struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *e) for e in entries)
        data += struct.pack("<I", 0 if last else 8 + (page + 1) * size)
    path.write_bytes(bytes(data) + bytes(own * (1 if shared else count)))


def _deflated_tile(path):
    """One tile of 30,000 x 30,000 zeros."""
    packed = zlib.compress(bytes(1 << 20))
    table = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, 4, 1, 30_000), (257, 4, 1, 30_000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, 30_016), (323, 4, 1, 30_016), (324, 4, 1, table), (325, 4, 1, len(packed)),
    ]  # fmt: skip
    _tiff(path, entries, packed)


def _npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("cube.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "<f4", "fortran_order": False, "shape": (70, 1024, 1024)}
        )
        for _ in range(70):
            stream.write(bytes(4 << 20))


def _png(path):
    path.mkdir()
    for band in range(1, 32):
        name = path / f"seed_ms_{band:02d}.png"
        if band == 1:
            Image.fromarray(np.zeros((8_000, 8_000), np.uint16)).save(name, compress_level=9)
        else:
            name.write_bytes((path / "seed_ms_01.png").read_bytes()[: 1 << 14])


def _mat(path):
    scipy.io.savemat(path, {"cube": np.zeros((40, 1000, 1000), np.float64)}, do_compression=True)


def _mat_struct(path):
    scipy.io.savemat(path, {"s": {"cube": np.zeros((40, 1000, 1000), np.float64)}}, do_compression=True)


def _hdf5(path, *, shape=(40, 2000, 1000), chunks=(40, 2000, 1000), extra=0):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("cube", shape=shape, chunks=chunks, dtype="f4", compression="gzip")
        data[0, 0, 0] = 1
        for number in range(extra):
            file.create_dataset(f"wavelength{number}", shape=(1 << 20,), dtype="f8", fillvalue=1.0)


def _zarray(shape, chunks, *, dtype="<f4", compressor=None, fill=0.0):
    return json.dumps(
        {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype, "compressor": compressor,
         "fill_value": fill, "order": "C", "filters": None}
    )  # fmt: skip


def _store(path, arrays, chunks=()):
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    for name, meta in arrays.items():
        (path / name).mkdir()
        (path / name / ".zarray").write_text(meta)
    for name, data in dict(chunks).items():
        (path / name).write_bytes(data)


def _packed(path, compressor, data):
    """A cube of 60 kB whose only chunk unpacks to 2 GB, or says so."""
    _store(path, {"cube": _zarray([4, 60, 64], [4, 60, 64], compressor={"id": compressor})}, {"cube/0.0.0": data})


def _zeros(compress):
    """At most 1 MB that unpacks to 4 GB: streams of zeros one after the other."""
    one = compress(bytes(8 << 20))
    return (one * 512)[: 1 << 20]


def _zstd():
    return numcodecs.Zstd(level=1).encode(bytes(256 << 20)) * 8


def _two_frames():
    """A frame of the right size, and a second one."""
    return numcodecs.Zstd(level=1).encode(bytes(4 * 60 * 64 * 4)) + numcodecs.Zstd(level=1).encode(bytes(512 << 20)) * 4


def _blanks(path):
    path.write_text(
        "ENVI\nsamples = 4\nlines = 4\nbands = 1\ndata type = 4\ninterleave = bsq\nbyte order = 0\n"
        + " " * 900_000
        + "x\n"
    )
    path.with_suffix(".dat").write_bytes(bytes(64))


def _deep(path):
    path.mkdir()
    (path / "zarr.json").write_text("[" * 400_000)


def _side_file(path):
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    items = "<MDI key='a'>b</MDI>" * 40_000
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset><Metadata>{items}</Metadata></PAMDataset>")


BOMBS = {
    "wide.tif": _wide,
    "wide_samples.tif": lambda path: _wide(path, width=4_000_000, samples=60_000),
    "rows.tif": lambda path: _wide(path, width=1, height=2_000_000_000),
    "shared_tables.tif": lambda path: _pages(path, count=20, strips=100_000),
    "shared_pages.tif": lambda path: _pages(path, count=4000, strips=4),
    "pages.tif": lambda path: _pages(path, count=640, strips=4, shared=False),
    "many_pages.tif": lambda path: _pages(path, count=7000, strips=1, shared=False),
    "tile.tif": _deflated_tile,
    "side.tif": _side_file,
    "packed.npz": _npz,
    "png": _png,
    "packed.mat": _mat,
    "struct.mat": _mat_struct,
    "chunk.h5": _hdf5,
    "vectors.h5": lambda path: _hdf5(path, shape=(16, 8, 1 << 20), chunks=(4, 8, 4096), extra=400),
    "vector.zarr": lambda path: _store(
        path,
        {"cube": _zarray([GB, 2, 3], [1 << 20, 2, 3]), "wavelength": _zarray([GB], [1 << 24], dtype="<f8", fill=1.0)},
    ),
    "vectors.zarr": lambda path: _store(
        path,
        {"cube": _zarray([4, 8, 8], [4, 8, 8])}
        | {f"v{n}": _zarray([1 << 20], [1 << 20], dtype="<f8", fill=1.0) for n in range(800)},
    ),
    "text.zarr": lambda path: _store(
        path,
        {"cube": _zarray([4, 8, 8], [4, 8, 8])}
        | {f"band_name{n}": _zarray([4], [4], dtype="<U100000000", fill=None) for n in range(8)},
    ),
    "chunk.zarr": lambda path: _store(
        path, {"cube": _zarray([4, 20_000, 6_000], [4, 20_000, 6_000])}, {"cube/0.0.0": b"x"}
    ),
    "blosc.zarr": lambda path: _packed(path, "blosc", bytes([2, 1, 33, 4]) + struct.pack("<3I", 2**31 - 1, 2**18, 64)),
    "lz4.zarr": lambda path: _packed(path, "lz4", struct.pack("<I", 2**31 - 1) + bytes(64)),
    "gzip.zarr": lambda path: _packed(path, "gzip", _zeros(gzip.compress)),
    "zlib.zarr": lambda path: _packed(path, "zlib", _zeros(zlib.compress)),
    "bz2.zarr": lambda path: _packed(path, "bz2", _zeros(bz2.compress)),
    "lzma.zarr": lambda path: _packed(path, "lzma", _zeros(lzma.compress)),
    "zstd.zarr": lambda path: _packed(path, "zstd", _zstd()),
    "frames.zarr": lambda path: _packed(path, "zstd", _two_frames()),
    "deep.zarr": _deep,
    "blanks.hdr": _blanks,
}  # fmt: skip
"""Writer of each input by its name."""
