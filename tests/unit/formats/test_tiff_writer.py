"""A GeoTIFF is written cloud-optimized: tiles, overviews, and both listed before the data."""

import os
import shutil

import dask.array as da
import numpy as np
import pytest
import rasterio
import tifffile
import xarray as xr
from affine import Affine

from hsipipe.errors import DataError
from hsipipe.formats import check_sinks, open_cube, save_cube
from hsipipe.formats.georeference import attach
from hsipipe.formats.tiff_writer import overview_factors


@pytest.fixture(scope="module")
def cube():
    values = np.random.default_rng(0).random((3, 600, 300), dtype=np.float32)
    values[:, :50, :60] = np.nan
    made = xr.DataArray(values, dims=("band", "y", "x")).assign_coords(band_name=("band", ["a", "b", "c"]))
    return attach(made, crs="EPSG:32632", transform=Affine(4, 0, 500000, 0, -4, 4649000))


@pytest.fixture(scope="module")
def path(cube, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    save_cube(cube.chunk({"y": 70}), path)
    return path


def test_the_lists_of_tiles_and_overviews_lie_before_the_data(path):
    assert os.listdir(path.parent) == [path.name]
    with tifffile.TiffFile(path) as file:
        images = [(page.offset, page.shape[1:], min(page.dataoffsets)) for page in file.pages]
    offsets, shapes, data = zip(*images, strict=True)
    assert shapes == ((600, 300), (300, 150), (150, 75))
    assert list(offsets) == sorted(offsets)
    assert max(offsets) < min(data)
    assert list(data) == sorted(data, reverse=True)  # the smallest overview first


def test_overviews_are_means_of_the_pixels_with_data(path, cube):
    with rasterio.open(path, overview_level=0) as raster:
        found = raster.read()
    expected = cube.coarsen(y=2, x=2).mean()
    assert np.isnan(found[:, :25, :30]).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_names_position_and_missing_values_are_kept(path, cube):
    with rasterio.open(path) as raster:
        assert raster.descriptions == ("a", "b", "c")
        assert np.isnan(raster.nodata)
        assert (raster.crs.to_epsg(), raster.block_shapes[0]) == (32632, (256, 256))
        assert (raster.compression.name, raster.interleaving.name) == ("deflate", "band")
    found = open_cube(path)
    np.testing.assert_array_equal(found, cube)
    assert found["band_name"].values.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(("size", "factors"), [((1, 256), []), ((257, 9), [2]), ((512, 512), [2]), ((513, 1), [2, 4])])
def test_overviews_go_down_to_one_tile(size, factors):
    assert overview_factors(*size) == factors


def test_the_disk_for_both_copies_is_checked_before(tmp_path, monkeypatch):
    free = 2 * 4 * 3 * 600 * 300 + (1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free))
    check_sinks([tmp_path / "a.nc"], (3, 600, 300))
    with pytest.raises(DataError, match="needs up to"):
        check_sinks([tmp_path / "a.tif"], (3, 600, 300))


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def fail(block):
        raise RuntimeError("broken")

    values = da.ones((2, 8, 8), chunks=-1, dtype=np.float32).map_blocks(fail, meta=np.empty((0, 0, 0), np.float32))
    with pytest.raises(RuntimeError, match="broken"):
        save_cube(xr.DataArray(values, dims=("band", "y", "x")), tmp_path / "a.tif")
    assert os.listdir(tmp_path) == []
