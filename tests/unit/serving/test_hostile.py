"""Send files made to harm the server: nothing runs, nothing leaves the folder, nothing huge is allocated."""

import io
import struct
import time

import numpy as np
import odd_readers
import pytest
import rasterio
import xarray as xr
from affine import Affine
from bomb import Bomb

from hsipipe.formats import save_cube
from hsipipe.methods.bicubic import Bicubic
from hsipipe.serving import rehearsal
from hsipipe.serving.limits import Limits

from .conftest import Source, connected, running, wait_until

pytestmark = pytest.mark.xdist_group("servers")

VALUES = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)


@pytest.fixture(scope="module")
def server():
    limits = Limits(body_bytes=4 << 20, values=1 << 22, grace_s=5.0)
    with running(Source({"1": Bicubic(2)}), limits=limits) as client:
        yield client


@pytest.fixture
def client(server):
    """Client that checks after each test that the server still predicts."""
    yield server
    np.testing.assert_array_equal(server.predict(VALUES)[0], Bicubic(2).predict(VALUES[None])[0])


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


def netcdf(*, dims=(), variables=()):
    """Header of a classic NetCDF file: dims as (name, size), float variables as (name, dimension ids, bytes)."""

    def named(name):
        return struct.pack(">i", len(name)) + name + bytes(-len(name) % 4)

    def listed(tag, entries):
        return struct.pack(">ii", tag if entries else 0, len(entries)) + b"".join(entries)

    lengths = [named(name) + struct.pack(">i", size) for name, size in dims]
    entries = [
        named(name) + struct.pack(f">i{len(ids)}i", len(ids), *ids) + bytes(8) + struct.pack(">iii", 5, size, 8)
        for name, ids, size in variables
    ]
    return b"CDF\x01" + bytes(4) + listed(10, lengths) + bytes(8) + listed(11, entries)


def test_netcdf_variables_that_share_their_bytes_are_refused(client):
    n = 250_000
    variables = [(b"%08d" % number, (0,), 4 * n) for number in range(1000)]
    status, error = client.refused(netcdf(dims=[(b"x", n)], variables=variables) + bytes(4 * n))
    assert (status, "its variables share bytes" in error) == (400, True), error


def test_a_netcdf_header_of_many_entries_is_refused(client):
    variables = [(b"%08d" % number, (), 4) for number in range(20_000)]
    status, error = client.refused(netcdf(variables=variables))
    assert (status, "too many entries" in error) == (400, True), error


@pytest.mark.parametrize("shape", [(4, 30_000, 30_000), (1 << 30, 1 << 30, 1 << 30)])
def test_a_netcdf_that_claims_more_than_it_holds_is_refused(client, shape):
    dims = list(zip((b"band", b"y", b"x"), shape, strict=True))
    body = netcdf(dims=dims, variables=[(b"cube", (0, 1, 2), 480)]) + VALUES.tobytes()
    status, error = client.refused(body)
    assert (status, "cannot be read as classic NetCDF" in error) == (400, True), error


def test_hdf5_is_refused_with_the_way_to_convert_it(client):
    status, error = client.refused(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert (status, "convert it with nccopy -k nc6" in error) == (415, True)


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


def tiff(tmp_path):
    save_cube(xr.DataArray(VALUES, dims=("band", "y", "x")), tmp_path / "lr.tif")
    return (tmp_path / "lr.tif").read_bytes()


def test_a_file_that_takes_too_long_to_read_is_refused_and_the_worker_is_free(tmp_path):
    with running(Source({"1": Bicubic(2)}), limits=Limits(read_s=0.001)) as client:
        status, error = client.refused(tiff(tmp_path))
        assert (status, "was not read within 0.001 s" in error) == (400, True), error
        np.testing.assert_array_equal(client.predict(VALUES)[0], Bicubic(2).predict(VALUES[None])[0])


def test_a_file_whose_reader_crashes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "_read", odd_readers.crash)
    with running(Source({"1": Bicubic(2)}), limits=Limits()) as client:
        status, error = client.refused(tiff(tmp_path))
        assert (status, "ended its reader with SIGSEGV" in error) == (400, True), error
        np.testing.assert_array_equal(client.predict(VALUES)[0], Bicubic(2).predict(VALUES[None])[0])


def test_a_client_that_leaves_while_its_file_is_read_frees_the_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "_read", odd_readers.sleep)
    body = tiff(tmp_path)
    with running(Source({"1": Bicubic(2)}), limits=Limits(read_s=600.0)) as client:
        with connected(client) as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_until(lambda: "pending 1.0" in client.ask("GET", "/metrics")[2].decode())
        left = time.monotonic()
        wait_until(lambda: "pending 0.0" in client.ask("GET", "/metrics")[2].decode())
        assert time.monotonic() - left < 5  # the child would sleep twice as long before it is ended
        np.testing.assert_array_equal(client.predict(VALUES)[0], Bicubic(2).predict(VALUES[None])[0])
