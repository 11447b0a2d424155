import os

import h5py
import numpy as np
import pytest
import scipy.io
import xarray as xr
import zarr

from hsipipe.errors import DataError, FileFormatError, IntegrityError, MissingInputError
from hsipipe.formats import open_cube, save_cube
from hsipipe.formats.netcdf import save_classic

NM = np.array([450.0, 500.0, 550.0, 600.0, 650.0])


@pytest.fixture
def cube(cube_values):
    coords = {"wavelength_nm": ("band", NM), "y": np.arange(8) * -4.0, "x": np.arange(12) * 4.0}
    return xr.DataArray(cube_values, dims=("band", "y", "x"), coords=coords, attrs={"units": "1"})


@pytest.mark.parametrize("name", ["a.hdr", "a.nc4", "a.h5", "a", "a.mat", "a.npz"])
def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path, cube, name):
    with pytest.raises(FileFormatError, match=r"cannot be written as .*use \.bil, .*\.nc, .*\.zarr"):
        save_cube(cube, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_cube_with_other_dims_is_refused(tmp_path, cube):
    with pytest.raises(DataError, match="has the dims band, y, x, got time"):
        save_cube(cube.rename(band="time"), tmp_path / "a.npy")


@pytest.mark.parametrize("thing", [np.zeros((2, 3, 4)), [[[0.0]]], None, xr.Dataset()])
def test_what_is_no_labelled_cube_is_refused(tmp_path, thing):
    with pytest.raises(DataError, match=rf"takes an xarray\.DataArray, got {type(thing).__name__}; wrap it"):
        save_cube(thing, tmp_path / "a.npy")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("save", [save_cube, save_classic])
def test_netcdf_keeps_the_attributes_that_it_can_and_the_text_of_the_others(tmp_path, cube, save):
    attrs = {"units": "1", "scale": 4, "gsd_m": np.float32(2.5), "gains": [1, 2], "big": 2**40, "flag": True}
    cube.attrs = attrs | {"none": None, "tree": {"a": 1}, "names": ["a", "b"], "ragged": [[1], [1, 2]], "raw": b"x"}
    cube.attrs["long"] = "x" * 100_000
    cube["wavelength_nm"].attrs = {"note": None, "span": (400, 700)}
    save(cube, tmp_path / "a.nc")
    assert cube.attrs["none"] is None
    found = open_cube(tmp_path / "a.nc")
    stored = dict(found.attrs)
    np.testing.assert_array_equal(stored.pop("gains"), [1, 2])
    text = {"tree": "{'a': 1}", "names": "['a', 'b']", "ragged": "[[1], [1, 2]]", "raw": "x", "long": "x" * 100_000}
    assert stored == {key: value for key, value in attrs.items() if key != "gains"} | text


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"a\.npy"):
        open_cube(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 4, 5), (0, 4, 4)])
def test_arrays_that_are_no_cubes(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(FileFormatError, match="3 axes"):
        open_cube(tmp_path / "a.npy")


def test_complex_numbers_are_no_reflectances(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), dtype=complex))
    with pytest.raises(FileFormatError, match="real numbers, got complex"):
        open_cube(tmp_path / "a.npy")


def test_nothing_there_unknown_suffix_unknown_folder(tmp_path):
    with pytest.raises(MissingInputError, match="No file or folder at"):
        open_cube(tmp_path / "none.npy")
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(FileFormatError, match=r"no format reads '\.xyz'; known: \.cdf, \.h5, .*and folders"):
        open_cube(tmp_path / "a.xyz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileFormatError, match="holds neither"):
        open_cube(tmp_path / "folder")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["uint8", ">i2", "float64", "bool"])
def test_npy_of_every_order_and_type(tmp_path, order, kind):
    values = np.random.default_rng(0).integers(0, 2, size=(3, 4, 5)).astype(kind)
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.npy"), values)


def test_npz_wavelengths_show_the_axis_of_the_bands(tmp_path, cube_values):
    np.savez_compressed(tmp_path / "a.npz", hsi=cube_values.transpose(1, 2, 0), wavelengths=NM / 1000)
    cube = open_cube(tmp_path / "a.npz")
    np.testing.assert_array_equal(cube, cube_values)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)


def test_a_damaged_chunk_of_a_zarr_store_is_named_when_it_is_read(tmp_path, cube):
    save_cube(cube, tmp_path / "a.zarr")
    opened = open_cube(tmp_path / "a.zarr")
    chunk = next(path for path in (tmp_path / "a.zarr" / "reflectance").rglob("c/0/0/0"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.zarr cannot be read, the file is damaged"):
        opened.load()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_float32_cannot_hold_is_infinite(tmp_path, suffix):
    values = np.ones((2, 3, 4))
    values[0, 0, 0] = -1.7976931348623157e308
    (np.save if suffix == ".npy" else np.savez)(tmp_path / f"a{suffix}", values)
    assert float(open_cube(tmp_path / f"a{suffix}").min()) == -np.inf


def test_zarr_is_lazy_and_complete(tmp_path, cube):
    save_cube(cube * 0, tmp_path / "a.zarr")
    opened = open_cube(tmp_path / "a.zarr")
    assert opened.chunks is not None
    assert float(opened.max()) == 0
    chunk = next(path for path in (tmp_path / "a.zarr" / "reflectance").rglob("c/0/0/0"))
    chunk.unlink()
    with pytest.raises(IntegrityError, match="c/0/0/0 is missing"):
        open_cube(tmp_path / "a.zarr")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".h5", ".zarr"])
def test_a_known_number_of_bands_tells_their_axis(tmp_path, suffix, order):
    cube = np.random.default_rng(0).random((7, 10, 12), dtype=np.float32)
    values, path = cube.transpose(order), tmp_path / f"cube{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, cube=values)
    elif suffix == ".mat":
        scipy.io.savemat(path, {"cube": values})
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["cube"] = values
    else:
        zarr.create_group(path).create_array("cube", data=np.ascontiguousarray(values))
    np.testing.assert_array_equal(open_cube(path, bands=7), cube)
