"""Every output is checked for name, size, type, folder and disk before the work, and nothing is computed."""

import os
import shutil

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.formats import FORMATS, check_sinks, open_cube, save_cube, writer
from hsipipe.formats.geotiff import FORMAT as GEOTIFF

SUFFIXES = sorted(suffix for form in FORMATS.values() for suffix in form.saved_as)
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture
def lazy():
    """A cube that must not be computed."""

    def fail(block):
        raise AssertionError("computed")

    values = da.ones((4, 8, 9), dtype=np.float32, chunks=-1).map_blocks(
        fail, dtype=np.float32, meta=np.empty((0, 0, 0))
    )
    return xr.DataArray(values, dims=("band", "y", "x"))


@every_suffix
def test_a_full_disk_is_told_before_a_lazy_cube_is_computed(tmp_path, lazy, suffix, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 1000))
    with pytest.raises(DataError, match="has 1 kB free"):
        save_cube(lazy, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


@every_suffix
@pytest.mark.parametrize("kind", ["complex64", "datetime64[ns]", "U4", "O"])
def test_values_that_are_no_real_numbers_are_refused(tmp_path, suffix, kind):
    cube = xr.DataArray(np.zeros((2, 3, 4), dtype=kind), dims=("band", "y", "x"))
    with pytest.raises(DataError, match="holds real numbers, got"):
        save_cube(cube, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


@every_suffix
@pytest.mark.parametrize("kind", ["bool", "u1", "i2", "u4", "i8", "f2", "f4", "f8", ">f4", ">i2"])
def test_real_numbers_of_any_type_are_written(tmp_path, suffix, kind):
    values = np.random.default_rng(0).integers(0, 2, size=(3, 8, 9)).astype(kind)
    save_cube(xr.DataArray(values, dims=("band", "y", "x")), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(open_cube(tmp_path / f"a{suffix}"), values)


@every_suffix
def test_a_name_that_is_taken_by_another_kind_is_refused(tmp_path, lazy, suffix):
    path = tmp_path / f"a{suffix}"
    if writer(path).is_folder:
        path.write_text("mine")
    else:
        (path / "mine").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is a (file|folder), expected a (folder|file) or nothing"):
        save_cube(lazy, path)
    assert path.exists()


@every_suffix
def test_a_folder_that_does_not_exist_is_an_error(tmp_path, lazy, suffix):
    with pytest.raises(MissingInputError, match=f"there is no folder {tmp_path / 'none'}; create it"):
        save_cube(lazy, tmp_path / "none" / f"a{suffix}")


@pytest.mark.parametrize("shape", [(65_536, 1, 1), (1, 2**31, 1), (1, 1, 2**31)])
def test_a_size_that_a_tiff_cannot_hold_is_refused(tmp_path, shape):
    with pytest.raises(FileFormatError, match=rf"{GEOTIFF.title} holds at most 65535 bands and 2147483647 rows"):
        check_sinks([tmp_path / "a.tif"], shape)
    check_sinks([tmp_path / "a.tif"], (65_535, 1, 1))


def test_the_sizes_of_several_results_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, 5 << 20))
    check_sinks([tmp_path / "a.nc"], (1, 512, 1024))
    with pytest.raises(DataError, match="needs up to"):
        check_sinks([tmp_path / "a.nc", tmp_path / "b.nc"], (1, 512, 1024))


@pytest.mark.parametrize("suffix", [".nc", ".tif", ".npy"])
def test_the_estimate_of_the_disk_covers_the_file(tmp_path, suffix):
    values = np.random.default_rng(0).random((10, 200, 100), dtype=np.float32)
    save_cube(xr.DataArray(values, dims=("band", "y", "x")), tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size < values.nbytes + (1 << 20)


@every_suffix
def test_no_attribute_or_coordinate_costs_a_result(tmp_path, suffix):
    values = np.random.default_rng(0).random((3, 8, 9), dtype=np.float32)
    attrs = {
        "none": None, "bytes": b"x", "tree": {"a": {1: object()}}, "ragged": [[1], [1, 2]], "big": 2**70, "nan": np.nan,
        "control": "a\x01\x00b", "object": object(), "array": np.arange(6).reshape(2, 3), "half": np.float16(1),
        "complex": 1j, "empty": [], "flag": np.True_, "day": np.datetime64("2020-01-01"), 7: "key", "a=b c": "key",
        "long": "x" * 100_000, "_private": "x", "units": "µ", "name/with/slash": "x",
    }  # fmt: skip
    coords = {
        "label": ("band", np.array(["a", None, 3], dtype=object)),
        "day": ("y", np.arange(8).astype("datetime64[D]").astype("datetime64[ns]")),
        "good": ("band", [True, False, True]),
        "spatial_ref": ((), 0, {"crs_wkt": "no CRS", "gcps": "{", "rpcs": "[]", "GeoTransform": "1 2"}),
        "x": list("abcdefghi"),
    }
    for name in ("band", "a/b", "x", 5, None):
        cube = xr.DataArray(values, dims=("band", "y", "x"), attrs=attrs, coords=coords, name=name)
        save_cube(cube, tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(open_cube(tmp_path / f"a{suffix}"), values)
