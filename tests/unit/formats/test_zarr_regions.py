"""Shards that are written without Zarr are those that Zarr writes, and Zarr reads them."""

import dask.array as da
import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from hsipipe.formats import open_cube
from hsipipe.formats.base import make_cube
from hsipipe.formats.zarr_regions import ShardedArray
from hsipipe.formats.zarr_store import FORMAT

SHAPE, CHUNK, SHARD = (3, 40, 28), (3, 8, 8), (3, 16, 16)
SHARDS = [(slice(0, 3), slice(y, y + 16), slice(x, x + 16)) for y in (0, 16, 32) for x in (0, 16)]


@pytest.fixture
def path(tmp_path):
    template = make_cube(da.zeros(SHAPE, chunks=SHARD, dtype=np.float32))
    FORMAT.create(template, tmp_path / "x.zarr", chunk=CHUNK, shard=SHARD)
    return tmp_path / "x.zarr"


@pytest.fixture
def values():
    values = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    values[:, :9, :9] = 0
    values[1, 20, 20] = np.nan
    return values


def write(array, values):
    for shard in SHARDS:
        array[shard] = values[shard]


def test_zarr_reads_what_is_written(path, values):
    write(FORMAT.regions(path), values)
    np.testing.assert_array_equal(open_cube(path).to_numpy(), values)
    np.testing.assert_array_equal(FORMAT.regions(path)[:, 3:30, 5:27], values[:, 3:30, 5:27])
    assert len(list(path.glob("*/c/0/*/*"))) == 6


def test_a_shard_is_as_large_as_that_of_zarr(path, values):
    ours = FORMAT.regions(path)
    write(ours, values)
    sizes = {file.name: file.stat().st_size for file in path.glob("*/c/0/*/*")}
    by_zarr = zarr.open_array(path / ours.path, mode="r+").with_config({"write_empty_chunks": True})
    write(by_zarr, values)
    assert {file.name: file.stat().st_size for file in path.glob("*/c/0/*/*")} == sizes
    np.testing.assert_array_equal(open_cube(path).to_numpy(), values)


def test_a_part_of_a_shard_and_an_array_of_other_codecs_are_left_to_zarr(path, values, tmp_path):
    array = FORMAT.regions(path)
    write(array, values)
    array[:, 4:20, 0:28] = values[:, 0:16, :]
    values[:, 4:20] = values[:, 0:16].copy()
    np.testing.assert_array_equal(array[...], values)
    other = zarr.create_array(tmp_path / "y.zarr", shape=SHAPE, chunks=CHUNK, shards=SHARD, dtype="f4",
                              compressors=ZstdCodec())  # fmt: skip
    write(ShardedArray(other, codecs=array.metadata.codecs[0].codecs[1:]), values)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "y.zarr")[...], values)
    assert list(open_cube(tmp_path / "y.zarr").shape) == list(SHAPE)
