"""Inputs of at most 1 MB that claim or unpack to far more."""

import bz2
import gzip
import json
import lzma
import struct
import zipfile
import zlib

import numcodecs
import numpy as np
import scipy.io
import tifffile
from hdf5_bombs import HDF5_BOMBS
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


def _pages(path, *, count, strips, shared=True, kinds=1):
    """Pages of `kinds` different resolutions."""
    size = 2 + 12 * 10 + 4
    table, own = 8 + count * size, 8 * strips
    data = bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(count):
        at = table if shared or strips == 1 else table + page * own
        entries = [
            (256, 4, 1, 16), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, strips, at), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, at + own // 2 if strips > 1 else 0),
            (296, 3, 1, page % kinds),
        ]  # fmt: skip
        last = page == count - 1
        data += struct.pack("<H", 10) + b"".join(struct.pack("<HHII", *e) for e in entries)
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
    return (one * 512)[:1_000_000]


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


def _geo_points(path):
    path.write_text(
        "ENVI\nsamples = 4\nlines = 4\nbands = 1\ndata type = 4\ninterleave = bsq\nbyte order = 0\ngeo points = {"
        + "1,1,1,1," * 120_000
        + "}\n"
    )
    path.with_suffix(".dat").write_bytes(bytes(64))


def _deep(path):
    path.mkdir()
    (path / "zarr.json").write_text("[" * 400_000)


def _side_file(path):
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    items = "<MDI key='a'>b</MDI>" * 40_000
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset><Metadata>{items}</Metadata></PAMDataset>")


def _directories(path, tags, extra, *, count=1):
    """Images of 16 x 1 that have further tags, whose values all lie behind the directories."""
    size = 2 + 12 * (9 + len(tags)) + 4
    at, data = 8 + count * size, bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(count):
        entries = [
            (256, 4, 1, 16), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, at),
            (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 16), *((tag, kind, n, at + 16) for tag, kind, n in tags),
        ]  # fmt: skip
        data += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in sorted(entries))
        data += struct.pack("<I", 0 if page == count - 1 else 8 + (page + 1) * size)
    path.write_bytes(bytes(data) + bytes(16) + extra)


def _metadata(items):
    return b"<GDALMetadata>" + b"".join(b'<Item name="a%d">b</Item>' % n for n in range(items)) + b"</GDALMetadata>\0"


def _bands(path, count=60_000):
    at = 8 + 2 + 12 * 11 + 4
    entries = [
        (256, 4, 1, 1), (257, 4, 1, 1), (258, 3, count, at), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, at + 2 * count), (277, 3, 1, count), (278, 4, 1, 1), (279, 4, 1, count), (284, 3, 1, 1),
        (338, 3, count - 1, at + 3 * count),
    ]  # fmt: skip
    _tiff(path, entries, struct.pack("<H", 8) * count + bytes(3 * count))


def _element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _matrix(kind, dims, name, rest, flags=0):
    head = _element(6, struct.pack("<II", kind | flags, 0)) + _element(5, struct.pack(f"<{len(dims)}i", *dims))
    return _element(14, head + _element(1, name) + rest)


def _mat5(path, matrix):
    """A cube, and a struct with one more matrix; everything is compressed."""
    cube = _matrix(7, (4, 5, 6), b"cube", _element(7, bytes(480)))
    parts = (zlib.compress(part, 9) for part in (cube, matrix))
    data = b"".join(struct.pack("<II", 15, len(part)) + part for part in parts)
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + data)


def _fields(names, length):
    return _element(5, struct.pack("<i", length)) + _element(1, b"".join(name.ljust(length, b"\0") for name in names))


def _struct(inner):
    return _matrix(2, (1, 1), b"s", _fields([b"a"], 8) + inner)


def _npz_header(path):
    """The header of an array claims 1 GB of text."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("cube.npy", "w") as stream:
        stream.write(b"\x93NUMPY\x02\x00" + (1000 << 20).to_bytes(4, "little"))
        for _ in range(100):
            stream.write(bytes(4 << 20))


def _shared_netcdf(path, count=6000, length=100_000):
    """Variables that all have the same bytes."""

    def text(value):
        return struct.pack(">I", len(value)) + value + bytes(-len(value) % 4)

    def body(at):
        dims = [(b"x", length), (b"a", 4), (b"b", 5), (b"c", 6)]
        head = b"CDF\x01" + struct.pack(">III", 0, 10, 4) + b"".join(text(n) + struct.pack(">I", k) for n, k in dims)
        one = struct.pack(">IIIIIII", 1, 0, 0, 0, 5, 4 * length, at)
        cube = text(b"cube") + struct.pack(">IIIIIIIII", 3, 1, 2, 3, 0, 0, 5, 480, at)
        variables = b"".join(text(b"%x" % number) + one for number in range(count))
        return head + bytes(8) + struct.pack(">II", 11, count + 1) + variables + cube

    path.write_bytes(body(len(body(0))) + bytes(4 * length))


def _compressed_shard(path):
    """A shard that is compressed as a whole."""
    (path / "c" / "0" / "0").mkdir(parents=True)
    raw = {"name": "bytes", "configuration": {"endian": "little"}}
    inside = {"chunk_shape": [4, 60, 64], "codecs": [raw], "index_codecs": [raw, {"name": "crc32c"}]}
    meta = {
        "zarr_format": 3, "node_type": "array", "shape": [4, 60, 64], "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 60, 64]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "fill_value": 0,
        "attributes": {}, "dimension_names": ["band", "y", "x"],
        "codecs": [{"name": "sharding_indexed", "configuration": inside},
                   {"name": "gzip", "configuration": {"level": 1}}],
    }  # fmt: skip
    (path / "zarr.json").write_text(json.dumps(meta))
    (path / "c" / "0" / "0" / "0").write_bytes(_zeros(gzip.compress))


def _raw_lzma(path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
    data = lzma.compress(bytes(256 << 20), format=lzma.FORMAT_RAW, filters=filters)
    codec = {"id": "lzma", "format": 3, "check": -1, "preset": None, "filters": filters}
    _store(path, {"cube": _zarray([4, 60, 64], [4, 60, 64], compressor=codec)}, {"cube/0.0.0": data})


def _vectors(path):
    """Vectors of 4 values whose chunks are of 256 MB."""
    data = bz2.compress(bytes(64 << 20)) * 4
    meta = _zarray([4], [1 << 25], dtype="<f8", compressor={"id": "bz2", "level": 1})
    _store(
        path,
        {"cube": _zarray([4, 8, 8], [4, 8, 8])} | {f"v{n}": meta for n in range(20)},
        {f"v{n}/0": data for n in range(20)},
    )


def _pam_items(path):
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    items = "".join(f"<MDI key='a{n}'>b</MDI>" for n in range(38_000))
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset><Metadata>{items}</Metadata></PAMDataset>")


BOMBS = HDF5_BOMBS | {
    "wide.tif": _wide,
    "wide_samples.tif": lambda path: _wide(path, width=4_000_000, samples=60_000),
    "rows.tif": lambda path: _wide(path, width=1, height=2_000_000_000),
    "shared_tables.tif": lambda path: _pages(path, count=20, strips=100_000),
    "shared_pages.tif": lambda path: _pages(path, count=4000, strips=4),
    "pages.tif": lambda path: _pages(path, count=800, strips=4, shared=False, kinds=200),
    "kinds.tif": lambda path: _pages(path, count=800, strips=4, shared=False, kinds=800),
    "many_pages.tif": lambda path: _pages(path, count=7000, strips=1, shared=False),
    "tile.tif": _deflated_tile,
    "side.tif": _side_file,
    "packed.npz": _npz,
    "png": _png,
    "packed.mat": _mat,
    "struct.mat": _mat_struct,
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
    "tiny_chunks.zarr": lambda path: _store(path, {"cube": _zarray([70, 71, 72], [1, 1, 1])}),
    "arrays.zarr": lambda path: _store(path, {f"v{n}": _zarray([4], [4], dtype="<f8") for n in range(3000)}),
    "bz2_vectors.zarr": _vectors,
    "padded.zarr": lambda path: _packed(path, "gzip", _zeros(lambda data: gzip.compress(data) + b"\0")),
    "lzma_raw.zarr": _raw_lzma,
    "shard.zarr": _compressed_shard,
    "items.tif": lambda path: _directories(path, [(42112, 2, len(_metadata(35_000)))], _metadata(35_000)),
    "shared_items.tif": lambda path: _directories(
        path, [(42112, 2, len(_metadata(1500)))], _metadata(1500), count=300
    ),
    "tags.tif": lambda path: _directories(
        path, [(1000 + n, 1, 700_000) for n in range(4000)], bytes(700_000)
    ),
    "bands.tif": _bands,
    "pam_items.tif": _pam_items,
    "fields.mat": lambda path: _mat5(
        path, _matrix(2, (1, 1), b"s", _fields([b"%x" % n for n in range(60_000)], 8) + _element(14, b"") * 60_000)
    ),
    "complex.mat": lambda path: _mat5(
        path, _struct(_matrix(6, (1, 100_000_000), b"", _element(2, bytes(100_000_000)) * 2, flags=0x800))
    ),
    "characters.mat": lambda path: _mat5(
        path, _struct(_matrix(4, (1, 200_000_000), b"", _element(16, b"a" * 200_000_000)))
    ),
    "names.mat": lambda path: _mat5(path, _matrix(2, (1, 0), b"s", _fields([b"a"] * 2_000_000, 4))),
    "cells.mat": lambda path: _mat5(
        path, _struct(_matrix(1, (1, 1_000_000), b"", _element(14, b"") * 1_000_000))
    ),
    "header.npz": _npz_header,
    "shared.nc": _shared_netcdf,
    "blanks.hdr": _blanks,
    "points.hdr": _geo_points,
}  # fmt: skip
"""Writer of each input by its name."""
