"""Uploads made to harm the server: nothing runs, nothing leaves the folder, nothing huge is allocated."""

import gzip
import io
import json
import stat
import struct
import zipfile
import zlib

import numcodecs
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from bomb import Bomb

from hsipipe.formats import save_cube
from hsipipe.methods.bicubic import Bicubic

from .conftest import npy
from .test_predicting import packed

VALUES = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)


@pytest.fixture
def client(serve):
    """A server, and afterwards a check that it still serves."""
    client = serve(Bicubic(2), body_bytes=4 << 20, values=1 << 22)
    yield client
    np.testing.assert_array_equal(client.predict(VALUES)[0], Bicubic(2).predict(VALUES[None])[0])


@pytest.fixture
def v2(tmp_path):
    zarr.open_group(tmp_path / "store.zarr", mode="w", zarr_format=2).create_array("cube", data=VALUES)
    return tmp_path / "store.zarr"


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_stores_are_served_as_they_are(client, v2, tmp_path):
    save_cube(xr.DataArray(VALUES, dims=("band", "y", "x")), tmp_path / "v3.zarr")
    cube = xr.Dataset({"cube": (("band", "y", "x"), VALUES)})
    cube.to_zarr(tmp_path / "consolidated.zarr", zarr_format=2, consolidated=True)
    zarr.create_array(tmp_path / "plain.zarr", data=VALUES, compressors=None)
    zarr.create_array(tmp_path / "gzip.zarr", data=VALUES, compressors=zarr.codecs.GzipCodec())
    for store in sorted(tmp_path.glob("*.zarr")):
        status, _, body = client.ask("POST", "/predict", packed(store))
        assert status == 200, (store, body)


@pytest.mark.parametrize("place", ["metadata", "consolidated"])
def test_a_store_that_names_pickle_runs_nothing(client, v2, tmp_path, monkeypatch, place):
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True)
    evil = {"dtype": "|O", "fill_value": "", "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "compressor": None}
    (v2 / "cube/0.0.0").write_bytes(numcodecs.Pickle().encode(np.array([Bomb(tmp_path / "exploded")], dtype=object)))
    if place == "metadata":
        edit(v2 / "cube/.zarray", **evil)
    else:
        listed = {".zgroup": {"zarr_format": 2}, "cube/.zarray": json.loads((v2 / "cube/.zarray").read_text()) | evil}
        (v2 / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": listed}))
    assert client.refused(packed(v2))[0] == 400
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped", "C:/escaped", "a\\..\\escaped"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(client, v2, name):
    stream = io.BytesIO(packed(v2))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(name, b"x")
    status, error = client.refused(stream.getvalue())
    assert status == 400
    assert "would lie outside the folder" in error


def test_an_archive_with_a_link_is_refused(client, v2):
    stream = io.BytesIO(packed(v2))
    with zipfile.ZipFile(stream, "a") as archive:
        entry = zipfile.ZipInfo("cube/link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert "is a link or a device" in client.refused(stream.getvalue())[1]


def test_an_archive_that_unpacks_to_too_much_is_refused(client, v2):
    stream = io.BytesIO(packed(v2))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cube/1.0.0", bytes(32 << 20))
    assert len(stream.getvalue()) < 100_000
    assert "more than the 8388608 allowed" in client.refused(stream.getvalue())[1]


def test_an_archive_without_a_store_says_so(client):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("lr.npy", npy(VALUES))
    assert "holds no Zarr store" in client.refused(stream.getvalue())[1]


@pytest.mark.parametrize(
    ("compressor", "content"),
    [
        ({"id": "gzip", "level": 1}, gzip.compress(bytes(8 << 20))),
        ({"id": "zlib", "level": 1}, zlib.compress(bytes(8 << 20))),
        ({"id": "zstd", "level": 1}, numcodecs.Zstd().encode(bytes(8 << 20))),
        ({"id": "zstd", "level": 1}, b"\x28\xb5\x2f\xfd\x00\x58" + bytes(20)),  # does not say to how much
        ({"id": "zstd", "level": 1}, struct.pack("<II", 0x184D2A50, 0) + numcodecs.Zstd().encode(bytes(8 << 20))),
        ({"id": "blosc", "cname": "lz4", "clevel": 5}, numcodecs.Blosc().encode(bytes(8 << 20))),
        (None, bytes(1 << 20)),
    ],
)
def test_a_chunk_that_unpacks_to_more_than_its_array_says_is_refused(client, v2, compressor, content):
    edit(v2 / "cube/.zarray", compressor=compressor)
    (v2 / "cube/0.0.0").write_bytes(content)
    status, error = client.refused(packed(v2))
    assert (status, "unpacks to more than its 480 bytes" in error) == (400, True), error


@pytest.mark.parametrize(
    "change",
    [
        {"compressor": {"id": "lzma"}},
        {"filters": [{"id": "zlib"}]},
        {"compressor": {"id": "zlib"}, "filters": [{"id": "zlib"}]},
    ],
)
def test_what_cannot_be_measured_is_refused(client, v2, change):
    edit(v2 / "cube/.zarray", **change)
    status, error = client.refused(packed(v2))
    assert (status, "send it with one of blosc, gzip, zlib, zstd" in error) == (400, True), error


def test_shards_are_not_taken_from_strangers(client, tmp_path):
    zarr.create_array(tmp_path / "sharded.zarr", data=VALUES, chunks=(1, 3, 5), shards=(4, 6, 5))
    assert "without shards" in client.refused(packed(tmp_path / "sharded.zarr"))[1]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"shape": [4, 60_000, 50_000], "chunks": [4, 6, 5]}, 413),
        ({"shape": [4, 60_000, 50_000], "chunks": [4, 60_000, 50_000]}, 400),
        ({"shape": [1 << 30, 1 << 30, 1 << 30]}, 400),
        ({"shape": [4, -6, 5]}, 400),
    ],
)
def test_metadata_that_claims_huge_arrays_allocates_nothing(client, v2, changes, status):
    edit(v2 / "cube/.zarray", **changes)
    assert client.refused(packed(v2))[0] == status


def header(shape, descr="<f4"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", [(4, 1 << 20, 1 << 20), (8, 4, 1 << 20, 1 << 20), (1 << 40, 1 << 40, 1 << 40)])
def test_a_npy_that_claims_more_than_it_holds_is_refused(client, shape):
    status, error = client.refused(header(shape) + VALUES.tobytes())
    assert status == 400
    assert "cannot be read as NumPy" in error


@pytest.mark.parametrize("ndim", [3, 4])
def test_a_npy_of_objects_is_not_unpickled(client, tmp_path, ndim):
    array = np.empty((1,) * ndim, dtype=object)
    array[...] = Bomb(tmp_path / "exploded")
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    assert client.refused(stream.getvalue())[0] == 400
    assert not (tmp_path / "exploded").exists()


def test_a_tiff_of_huge_dimensions_allocates_nothing(client, tmp_path):
    profile = {"driver": "GTiff", "width": 30_000, "height": 30_000, "count": 1, "dtype": "float32", "tiled": True}
    place = {"transform": Affine(2, 0, 0, 0, -2, 0), "blockxsize": 4096, "blockysize": 4096, "sparse_ok": True}
    with rasterio.open(tmp_path / "lr.tif", "w", **profile, **place):
        pass
    status, error = client.refused((tmp_path / "lr.tif").read_bytes())
    assert (status, "expected at most 4194304" in error) == (413, True)


def test_a_virtual_raster_reads_nothing(client, tmp_path):
    save_cube(xr.DataArray(VALUES, dims=("band", "y", "x")), tmp_path / "secret.tif")
    text = (
        '<VRTDataset rasterXSize="5" rasterYSize="6"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path / 'secret.tif'}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    ).encode()
    assert client.refused(text)[0] == 415
    assert client.refused(b"II*\0" + text)[0] == 400
