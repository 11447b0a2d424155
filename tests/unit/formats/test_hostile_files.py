"""Files made to harm whoever opens them: nothing runs, nothing is read from elsewhere, nothing huge is allocated."""

import io
import json
import pickle
import struct
import zipfile
from contextlib import suppress

import h5py
import numcodecs
import numpy as np
import pytest
import rasterio
import scipy.io
import tifffile
import xarray as xr
import zarr
from affine import Affine
from bomb import Bomb

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube, save_cube

VALUES = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)


@pytest.fixture
def exploded(tmp_path, monkeypatch):
    """What a bomb would make; it must not be there in the end, though the switch of numcodecs is on."""
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True)
    target = tmp_path / "exploded"
    yield target
    assert not target.exists()


def edit(path, change):
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.fixture
def v2(tmp_path):
    group = zarr.open_group(tmp_path / "store.zarr", mode="w", zarr_format=2)
    group.create_array("cube", data=VALUES, chunks=(3, 2, 5))
    return tmp_path / "store.zarr"


@pytest.fixture
def v3(tmp_path):
    save_cube(xr.DataArray(VALUES, dims=("band", "y", "x"), name="cube"), tmp_path / "store.zarr")
    return tmp_path / "store.zarr"


def test_the_stores_themselves_open(v2, v3):
    np.testing.assert_array_equal(open_cube(v2), VALUES)
    np.testing.assert_array_equal(open_cube(v3), VALUES)


@pytest.mark.parametrize("place", ["filters", "compressor", "beside", "consolidated"])
def test_a_zarr_store_that_names_pickle_runs_nothing(v2, exploded, place):
    codec = {"id": "pickle", "protocol": 5}
    evil = {"dtype": "|O", "fill_value": "", "filters": [{"id": "vlen-utf8"}, codec], "compressor": None}
    bomb = numcodecs.Pickle().encode(np.array([Bomb(exploded)], dtype=object))
    if place == "beside":  # a small vector is read with the cube
        group = zarr.open_group(v2, mode="a")
        group.create_array("names", data=np.arange(1), chunks=(1,))
        edit(v2 / "names/.zarray", lambda tree: tree.update(evil))
        (v2 / "names/0").write_bytes(bomb)
    else:
        edits = {"filters": evil, "compressor": {"compressor": codec, "filters": None}, "consolidated": evil}[place]
        for chunk in ("0.0.0", "0.1.0"):
            (v2 / "cube" / chunk).write_bytes(bomb)
        if place == "consolidated":
            tree = json.loads((v2 / "cube/.zarray").read_text()) | edits
            listed = {".zgroup": {"zarr_format": 2}, "cube/.zarray": tree}
            (v2 / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": listed}))
        else:
            edit(v2 / "cube/.zarray", lambda tree: tree.update(edits))
    with pytest.raises(FileFormatError, match="run code"):
        open_cube(v2).compute()


def test_the_bomb_of_these_tests_is_live(v2, tmp_path, monkeypatch):
    """Without the check, Zarr would unpickle it: it refuses a type that pickle stands for, not a second filter."""
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True)
    hidden = {"dtype": "|O", "fill_value": "", "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "compressor": None}
    edit(v2 / "cube/.zarray", lambda tree: tree.update(hidden))
    (v2 / "cube/0.0.0").write_bytes(pickle.dumps(np.array([Bomb(tmp_path / "live")], dtype=object)))
    with suppress(Exception):  # the shape no longer fits, but by then it has run
        zarr.open_array(v2, path="cube", mode="r")[:, :2]
    assert (tmp_path / "live").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codecs": [{"name": "vlen-bytes"}]}, "names the codec 'vlen-bytes'"),
        ({"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]}, r"names the codec 'numcodecs\.pickle'"),
        ({"codecs": "bytes"}, "does not have a list of codecs"),
        ({"data_type": "variable_length_bytes"}, "has the type 'variable_length_bytes'"),
        ({"data_type": {"name": "struct", "configuration": {}}}, "has the type"),
        ({"shape": [1 << 20, 1 << 20, 1 << 20]}, "claims 1152921504606846976 values"),
        ({"shape": [3, -4, 5]}, "does not have a valid shape"),
        ({"shape": "345"}, "does not have a valid shape"),
        ({"chunk_grid": {"name": "rectangular"}}, "does not have a regular chunk grid"),
    ],
)
def test_zarr_v3_metadata_is_checked_before_it_is_believed(v3, change, message):
    edit(v3 / "cube/zarr.json", lambda tree: tree.update(change))
    with pytest.raises(FileFormatError, match=message):
        open_cube(v3)


def test_huge_chunks_are_refused_before_one_is_read(v3):
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 16, 1 << 16, 5]}}
    edit(v3 / "cube/zarr.json", lambda tree: tree.update(chunk_grid=grid))
    (v3 / "cube/c/0/0/0").write_bytes(b"")
    with pytest.raises(FileFormatError, match="claims chunks of 85899345920 bytes"):
        open_cube(v3).compute()


def test_huge_chunks_of_a_vector_beside_a_cube_are_not_read(v3):
    zarr.open_group(v3, mode="a").create_array("flag", data=np.arange(3.0), chunks=(3,))
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 40]}}
    edit(v3 / "flag/zarr.json", lambda tree: tree.update(chunk_grid=grid))
    assert open_cube(v3).load().ndim == 3


def test_the_codecs_inside_a_shard_are_checked(v3):
    inner = {"chunk_shape": [3, 2, 5], "codecs": [{"name": "bytes"}, {"name": "vlen-array"}]}
    shard = {"name": "sharding_indexed", "configuration": inner}
    edit(v3 / "cube/zarr.json", lambda tree: tree.update(codecs=[shard]))
    with pytest.raises(FileFormatError, match="names the codec 'vlen-array'"):
        open_cube(v3)


def test_a_shard_of_countless_chunks_is_refused(tmp_path, v3):
    inner = {"chunk_shape": [1, 1, 1], "codecs": [{"name": "bytes"}]}
    shard = {"name": "sharding_indexed", "configuration": inner}
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 10, 1 << 10, 1 << 10]}}
    edit(v3 / "cube/zarr.json", lambda tree: tree.update(codecs=[shard], chunk_grid=grid))
    with pytest.raises(FileFormatError, match="chunks in a shard"):
        open_cube(v3)


def test_consolidated_metadata_of_zarr_v3_is_checked(v3):
    evil = json.loads((v3 / "cube/zarr.json").read_text()) | {"codecs": [{"name": "vlen-bytes"}]}
    consolidated = {"kind": "inline", "must_understand": False, "metadata": {"cube": evil}}
    edit(v3 / "zarr.json", lambda tree: tree.update(consolidated_metadata=consolidated))
    with pytest.raises(FileFormatError, match="names the codec 'vlen-bytes'"):
        open_cube(v3)


def test_metadata_that_changes_after_opening_is_checked_again(v2, exploded):
    cube = open_cube(v2)
    edit(v2 / "cube/.zarray", lambda tree: tree.update(filters=[{"id": "pickle"}], compressor=None))
    (v2 / "cube/0.0.0").write_bytes(numcodecs.Pickle().encode(np.array([Bomb(exploded)], dtype=object)))
    with pytest.raises(FileFormatError, match="run code"):
        cube.compute()


@pytest.mark.parametrize("text", ["{", "[]", '{"node_type": ' + "[" * 100_000])
def test_metadata_that_is_no_json_object_is_refused(v3, text):
    (v3 / "cube/zarr.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"is not (a )?JSON"):
        open_cube(v3)


def test_a_link_that_leads_back_ends(v3):
    (v3 / "loop").symlink_to(v3)
    np.testing.assert_array_equal(open_cube(v3), VALUES)
    edit(v3 / "zarr.json", lambda tree: tree.pop("consolidated_metadata"))
    with pytest.raises(FileFormatError, match="symbolic links"):
        open_cube(v3, variable="cube")


def test_sharded_stores_and_names_of_bands_still_open(tmp_path):
    cube = xr.DataArray(VALUES, dims=("band", "y", "x"), name="cube").assign_coords(name=("band", ["a", "b", "c"]))
    cube.to_dataset().to_zarr(tmp_path / "named.zarr", zarr_format=2)
    np.testing.assert_array_equal(open_cube(tmp_path / "named.zarr"), VALUES)
    zarr.create_array(tmp_path / "sharded.zarr", data=VALUES, chunks=(1, 2, 5), shards=(3, 4, 5))
    np.testing.assert_array_equal(open_cube(tmp_path / "sharded.zarr", bands=3), VALUES)


def npy(shape, *, descr="<f4", body=b""):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize("shape", [(31, 1 << 20, 1 << 20), (1 << 32, 1 << 32, 1), (3, 4, 6), (-1, 4, 5)])
def test_a_npy_that_claims_more_than_it_holds_is_refused(tmp_path, shape):
    (tmp_path / "cube.npy").write_bytes(npy(shape, body=VALUES.tobytes()))
    with pytest.raises(FileFormatError, match="cannot be read as NumPy"):
        open_cube(tmp_path / "cube.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_numpy_files_of_objects_are_not_unpickled(tmp_path, exploded, suffix):
    array = np.empty((1, 1, 1), dtype=object)
    array[0, 0, 0] = Bomb(exploded)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    path = tmp_path / f"cube{suffix}"
    if suffix == ".npy":
        path.write_bytes(buffer.getvalue())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cube.npy", buffer.getvalue())
    with pytest.raises(FileFormatError):
        open_cube(path)


def test_a_vector_of_objects_beside_an_npz_cube_is_not_unpickled(tmp_path, exploded):
    vector = np.array([Bomb(exploded)] * 3, dtype=object)
    np.savez(tmp_path / "cube.npz", cube=VALUES, wavelength=vector, allow_pickle=True)
    with pytest.raises(FileFormatError):
        open_cube(tmp_path / "cube.npz")


@pytest.mark.parametrize("suffix", [".mat", ".nc", ".h5", ".zarr", ".tif", ".npy", ".npz"])
def test_a_pickle_under_any_name_is_not_loaded(tmp_path, exploded, suffix):
    path = tmp_path / f"cube{suffix}"
    path.write_bytes(pickle.dumps(Bomb(exploded)))
    with pytest.raises(FileFormatError):
        open_cube(path)


def test_pickled_bytes_inside_matlab_and_hdf5_stay_bytes(tmp_path, exploded):
    content = np.frombuffer(pickle.dumps(Bomb(exploded)), np.uint8)
    scipy.io.savemat(tmp_path / "cube.mat", {"cube": VALUES, "extra": np.array([content.tobytes()], dtype=object)})
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"] = VALUES
        file["cube"].attrs["pickled"] = np.void(content.tobytes())
        file["pickled"] = content
    for name in ("cube.mat", "cube.h5"):
        assert open_cube(tmp_path / name, variable="cube").size == VALUES.size


def test_an_external_link_below_a_group_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["cube"] = VALUES
    with h5py.File(tmp_path / "cube.h5", "w") as file:
        file["cube"] = VALUES
        file.create_group("inside")["secret"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "cube")
    with pytest.raises(FileFormatError, match="is a link to another place"):
        open_cube(tmp_path / "cube.h5")


def test_a_vrt_disguised_as_a_tiff_reads_nothing(tmp_path):
    save_cube(xr.DataArray(VALUES, dims=("band", "y", "x")), tmp_path / "secret.tif")
    (tmp_path / "cube.tif").write_text(
        '<VRTDataset rasterXSize="5" rasterYSize="4"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{tmp_path / "secret.tif"}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(FileFormatError):
        open_cube(tmp_path / "cube.tif")


def sparse_tiff(path, *, size, tile=256):
    """A TIFF of a few kB that claims size x size pixels."""
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "float32", "sparse_ok": True}
    layout = {"tiled": True, "blockxsize": tile, "blockysize": tile, "bigtiff": True}
    with rasterio.open(path, "w", transform=Affine(2, 0, 0, 0, -2, 0), **profile, **layout):
        pass


def test_a_tiff_of_huge_dimensions_is_opened_without_its_pixels(tmp_path):
    sparse_tiff(tmp_path / "cube.tif", size=40_000, tile=4096)
    cube = open_cube(tmp_path / "cube.tif")
    assert cube.shape == (1, 40_000, 40_000)
    assert cube.chunks is not None
    assert (tmp_path / "cube.tif").stat().st_size < 100_000


def test_a_tiff_of_countless_images_is_refused(tmp_path):
    # A chain of directories without entries, 8 bytes apart.
    count = 20_000
    chain = b"".join(struct.pack("<HIxx", 0, 8 + 8 * (number + 1)) for number in range(count))
    (tmp_path / "cube.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + chain + bytes(8))
    with pytest.raises(FileFormatError, match="more than 800 images"):
        open_cube(tmp_path / "cube.tif")


def test_a_tiff_of_countless_kinds_of_images_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "cube.tif") as writer:
        for number in range(201):
            writer.write(VALUES[0], resolution=(number + 1, 1), metadata=None, contiguous=False)
    with pytest.raises(FileFormatError, match="more than 200 images whose tags differ"):
        open_cube(tmp_path / "cube.tif")


def test_a_tiff_that_claims_a_huge_block_is_refused(tmp_path):
    sparse_tiff(tmp_path / "cube.tif", size=200_000, tile=32_768)
    with pytest.raises(FileFormatError, match="blocks of 4294967296 bytes"):
        open_cube(tmp_path / "cube.tif")
