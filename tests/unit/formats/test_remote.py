"""Cubes on a server: the bytes of the windows alone are fetched, and bounded whatever the server sends."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from file_server import serving

from hsipipe.errors import FileFormatError, MissingInputError, ParamsError, UnreachableError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.base import make_cube
from hsipipe.formats.digest import source_digest
from hsipipe.formats.provenance import provenance
from hsipipe.storage.ranges import BLOCK_BYTES, RangeFile, forget, read_range, read_whole, state_of
from hsipipe.storage.urls import Url, place_of

CENTRES = np.linspace(420, 950, 12)


@pytest.fixture(scope="module")
def scene():
    values = np.random.default_rng(0).random((12, 640, 512), dtype=np.float32)
    return make_cube(values, wavelength_nm=CENTRES)


@pytest.fixture(scope="module")
def server(tmp_path_factory, scene):
    folder = tmp_path_factory.mktemp("served")
    save_cube(scene, folder / "cog.tif")
    _write_tiff(folder / "strips.tif", scene, tiled=False)
    _write_tiff(folder / "pixels.tif", scene, tiled=True, blockxsize=64, blockysize=64, interleave="pixel")
    save_cube(scene, folder / "own.zarr")
    _write_zarr(folder / "v2.zarr", scene, 2)
    _write_zarr(folder / "shards.zarr", scene, 3, shards=(12, 128, 128))
    with serving(folder) as files:
        yield files


@pytest.fixture(autouse=True)
def _calm(server):
    forget()
    server.asked.clear()
    server.fault, server.busy, server.version = "", 0, "1"


def _write_tiff(path, cube, **profile):
    bands, height, width = cube.shape
    size = {"count": bands, "height": height, "width": width, "dtype": "float32", "compress": "deflate"}
    with rasterio.open(
        path, "w", driver="GTiff", crs=32632, transform=(30, 0, 5e5, 0, -30, 5e6), **size, **profile
    ) as r:
        r.write(cube.values)


def _write_zarr(path, cube, version, **how):
    group = zarr.create_group(path, zarr_format=version)
    names = {"dimension_names": ("band", "y", "x")} if version == 3 else {}
    array = group.create_array("radiance", shape=cube.shape, dtype="float32", chunks=(12, 32, 32), **names, **how)
    array[...] = cube.values
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["band", "y", "x"]
        zarr.consolidate_metadata(path)
    else:  # as zarr.consolidate_metadata writes it, which warns
        tree = json.loads((path / "zarr.json").read_text())
        inside = {"radiance": json.loads((path / "radiance" / "zarr.json").read_text())}
        tree["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": inside}
        (path / "zarr.json").write_text(json.dumps(tree))


NAMES = ["cog.tif", "strips.tif", "pixels.tif", "own.zarr", "v2.zarr", "shards.zarr"]


@pytest.mark.parametrize("name", NAMES)
def test_a_remote_cube_is_the_file(server, scene, name):
    remote, local = open_cube(f"{server.address}/{name}"), open_cube(server.folder / name)
    np.testing.assert_array_equal(remote.values, scene.values)
    assert remote.attrs == local.attrs
    assert set(remote.coords) == set(local.coords)
    assert remote.encoding == local.encoding


@pytest.mark.parametrize("name", NAMES)
def test_opening_reads_little_and_a_window_its_tiles(server, scene, name):
    cube = open_cube(f"{server.address}/{name}")
    assert server.sent <= 256 << 10
    server.asked.clear()
    window = cube[:, 200:232, 100:132].values
    np.testing.assert_array_equal(window, scene.values[:, 200:232, 100:132])
    size = scene.nbytes
    # own.zarr has rows of all columns, cog.tif tiles of 512 pixels: a window takes those it touches.
    most = {"cog.tif": 0.9 * size, "own.zarr": 0.3 * size, "strips.tif": 0.3 * size}.get(name, 0.08 * size)
    assert 0 < server.sent <= most, f"{server.sent / size:.2f} of the scene"


def test_a_band_takes_the_tiles_of_that_band(server, scene):
    cube = open_cube(f"{server.address}/cog.tif")
    server.asked.clear()
    np.testing.assert_array_equal(cube[3].values, scene.values[3])
    assert server.sent <= 0.2 * scene.nbytes


def test_no_file_next_to_it_is_asked_for(server):
    open_cube(f"{server.address}/strips.tif")[:, :8, :8].load()
    assert {path for path, _ in server.asked} == {"/strips.tif"}


def test_other_formats_say_how_to_read_them(server):
    with pytest.raises(FileFormatError, match=r"NetCDF is not read in parts.*curl -fLO http://127.*x\.nc"):
        open_cube(f"{server.address}/x.nc")
    assert not server.asked


def test_what_is_not_there_is_said(server):
    with pytest.raises(MissingInputError, match=r"No file at http.*none\.tif"):
        open_cube(f"{server.address}/none.tif")
    with pytest.raises(MissingInputError, match=r"No Zarr store at http.*neither"):
        open_cube(f"{server.address}/none")
    with pytest.raises(UnreachableError, match="cannot be reached"):
        open_cube("http://127.0.0.1:9/x.tif")
    with pytest.raises(ParamsError, match="expected one that begins with http://"):
        open_cube("ftp://127.0.0.1/x.tif")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no-ranges", "does not send parts of files"),
        ("no-length", "does not send parts of files"),
        ("other-range", "sent another range"),
        ("gzip", "compresses its answers"),
    ],
)
def test_a_server_that_ignores_the_range_is_refused(server, fault, message):
    server.fault = fault
    with pytest.raises(FileFormatError, match=message):
        open_cube(f"{server.address}/cog.tif")


def test_a_small_file_without_a_stated_length_has_the_size_of_its_bytes(server):
    server.fault = "no-length"
    data = (server.folder / "own.zarr" / "zarr.json").read_bytes()
    url = Url(f"{server.address}/own.zarr/zarr.json")
    assert len(data) < BLOCK_BYTES
    assert state_of(url).size == len(data)
    assert read_whole(url, most=len(data)) == data


def test_an_endless_answer_is_cut(server):
    server.fault = "endless"
    assert len(read_range(Url(f"{server.address}/cog.tif"), 10, 1010)) == 1000


def test_access_denied_is_said_without_the_credentials(server):
    server.fault = "denied"
    address = server.address.replace("//", "//user:secret@") + "/cog.tif?signature=hidden"
    with pytest.raises(UnreachableError, match="may not be read") as caught:
        open_cube(address)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_an_overloaded_server_is_asked_again(server, monkeypatch):
    monkeypatch.setattr("hsipipe.storage.ranges._PAUSE_S", 0)
    server.busy = 2
    assert open_cube(f"{server.address}/cog.tif").shape == (12, 640, 512)


def test_a_file_that_changes_is_not_mixed(server):
    cube = open_cube(f"{server.address}/cog.tif")
    server.version = "2"
    with pytest.raises(FileFormatError, match="changed while it was read"):
        cube.load()


def test_an_error_of_the_server_is_not_called_damage(server, monkeypatch):
    monkeypatch.setattr("hsipipe.storage.ranges._PAUSE_S", 0)
    cube = open_cube(f"{server.address}/cog.tif")
    server.busy = 10**6
    with pytest.raises(UnreachableError, match="503"):
        cube[0].load()


def test_directories_that_claim_too_much_are_refused(server):
    head = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 60000)
    (server.folder / "bomb.tif").write_bytes(head + bytes(100))
    with pytest.raises(FileFormatError, match="incomplete"):
        open_cube(f"{server.address}/bomb.tif")


def test_several_images_are_refused(server, scene):
    tifffile.imwrite(server.folder / "pages.tif", scene.values[:3, :32, :32], photometric="minisblack")
    with pytest.raises(FileFormatError, match=r"holds 3 images|describes all its planes"):
        open_cube(f"{server.address}/pages.tif")


def _store(folder, change):
    """Write a store whose metadata are changed."""
    folder.mkdir()
    _write_zarr(folder / "x.zarr", make_cube(np.ones((2, 64, 64), np.float32)), 3)
    path = folder / "x.zarr" / "zarr.json"
    tree = json.loads(path.read_text())
    change(tree["consolidated_metadata"]["metadata"])
    path.write_text(json.dumps(tree))


def _pickled(nodes):
    nodes["radiance"]["codecs"] = [{"name": "numcodecs.pickle"}]


def _huge(nodes):
    nodes["radiance"]["shape"] = [2, 1 << 30, 1 << 30]


def _outside(nodes):
    nodes["../../outside"] = nodes.pop("radiance")


@pytest.mark.parametrize(
    ("change", "message"),
    [(_pickled, "numcodecs.pickle"), (_huge, "claims"), (_outside, "it names the array '../../outside'")],
)
def test_hostile_metadata_of_a_store_are_refused(tmp_path, change, message):
    _store(tmp_path / "served", change)
    with serving(tmp_path / "served") as files, pytest.raises(FileFormatError, match=message):
        open_cube(f"{files.address}/x.zarr")
    assert not (tmp_path / "outside").exists()


def test_a_chunk_that_is_larger_than_its_array_is_refused(tmp_path):
    _store(tmp_path / "served", lambda nodes: None)
    (chunk,) = {path for path in (tmp_path / "served").rglob("c/0/0/0")}
    chunk.write_bytes(bytes(4 << 20))
    with serving(tmp_path / "served") as files:
        cube = open_cube(f"{files.address}/x.zarr")
        with pytest.raises(FileFormatError, match="more than it may hold"):
            cube.load()
        assert files.sent < 2 << 20


def test_a_missing_chunk_of_a_complete_store_is_an_error(server, tmp_path):
    save_cube(make_cube(np.ones((2, 64, 64), np.float32)), tmp_path / "x.zarr")
    next(path for path in tmp_path.rglob("c/0/0/0")).unlink()
    with serving(tmp_path) as files:
        cube = open_cube(f"{files.address}/x.zarr")
        with pytest.raises(FileFormatError, match="missing on the server"):
            cube.load()


def test_a_store_without_consolidated_metadata_says_what_to_do(tmp_path):
    zarr.create_group(tmp_path / "x.zarr", zarr_format=3).create_array("a", shape=(2, 8, 8), dtype="f4")
    with serving(tmp_path) as files:
        with pytest.raises(FileFormatError, match="consolidate_metadata"):
            open_cube(f"{files.address}/x.zarr")
        assert open_cube(f"{files.address}/x.zarr/a", bands=2).shape == (2, 8, 8)


def test_an_address_hides_credentials_and_keeps_them_below():
    url = place_of("https://user:secret@host/a%20b/x.zarr?sig=1")
    assert str(url) == "https://host/a%20b/x.zarr"
    assert (url / "zarr.json").text == "https://user:secret@host/a%20b/x.zarr/zarr.json?sig=1"
    assert (url.name, url.suffix) == ("x.zarr", ".zarr")


def test_a_path_is_never_an_address(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingInputError, match="No file or folder at http:/127"):
        open_cube(Path(f"{server.address}/cog.tif"))
    assert not server.asked


def test_the_digest_tells_versions_apart(server):
    url = Url(f"{server.address}/cog.tif")
    first = source_digest(url)
    assert source_digest(url) == first
    server.version = "2"
    forget()
    assert source_digest(url) != first


def test_the_provenance_of_a_remote_input_is_its_address(server):
    url = Url(f"{server.address}/cog.tif?token=hidden")
    found = provenance("predict", inputs={"input": url}, model={"name": "net"}, parameters={}, earlier={})
    assert found["hsipipe_input_url"] == f"{server.address}/cog.tif"
    assert found["hsipipe_input_version"] == source_digest(url)
    assert "hidden" not in str(found)


def test_a_file_for_parsers_reads_as_the_file(server):
    url, data = Url(f"{server.address}/cog.tif"), (server.folder / "cog.tif").read_bytes()
    with RangeFile(url) as file:
        for start, length in [(0, 8), (65_530, 20), (len(data) - 5, 100), (1000, 200_000)]:
            file.seek(start)
            assert file.read(length) == data[start : start + length]
    assert state_of(url).size == len(data)
    assert read_whole(url, most=len(data)) == data
    with pytest.raises(FileFormatError, match="more than"):
        read_whole(url, most=len(data) - 1)
