from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube

NM = np.array([450.0, 500.0, 550.0, 600.0, 650.0])


def _write_v73(path, **arrays):
    """As MATLAB writes it: axes reversed, MATLAB_class, a header of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values.T).attrs["MATLAB_class"] = np.bytes_("single")


def test_v5_has_the_bands_last(tmp_path, cube_values):
    scipy.io.savemat(tmp_path / "a.mat", {"data": cube_values.transpose(1, 2, 0), "map": np.zeros((8, 12))})
    cube = open_cube(tmp_path / "a.mat")
    assert cube.dtype == np.float32
    np.testing.assert_array_equal(cube, cube_values)


def test_two_equal_sides_after_the_first_axis_show_bands_first(tmp_path):
    values = np.random.default_rng(0).random((31, 9, 9), dtype=np.float32)
    scipy.io.savemat(tmp_path / "a.mat", {"data": values})
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat"), values)


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0), (1e-3, 0)])
def test_wavelengths_settle_the_axis_and_come_in_nm(tmp_path, cube_values, factor, offset):
    values = np.random.default_rng(0).random((40, 8, 12), dtype=np.float32)
    nm = np.linspace(400, 1000, 40)
    scipy.io.savemat(tmp_path / "a.mat", {"data": values, "wavelengths": nm * factor})
    cube = open_cube(tmp_path / "a.mat")
    np.testing.assert_array_equal(cube, values)
    np.testing.assert_allclose(cube["wavelength_nm"], nm)


def test_v73_axes_come_back_in_matlab_order(tmp_path, cube_values):
    _write_v73(tmp_path / "a.mat", data=cube_values.transpose(1, 2, 0))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat"), cube_values)


def test_the_variable_can_be_named(tmp_path, cube_values):
    other = np.zeros((2, 3, 4))
    scipy.io.savemat(tmp_path / "a.mat", {"big": cube_values.transpose(1, 2, 0), "small": other})
    _write_v73(tmp_path / "b.mat", big=cube_values.transpose(1, 2, 0), small=other)
    for name in ("a.mat", "b.mat"):
        assert open_cube(tmp_path / name).shape == (5, 8, 12)
        assert open_cube(tmp_path / name, variable="small").shape == (4, 2, 3)
        with pytest.raises(FileFormatError, match="no variable 'none'; the file holds"):
            open_cube(tmp_path / name, variable="none")


@pytest.mark.parametrize("write", [scipy.io.savemat, lambda path, arrays: _write_v73(path, **arrays)])
def test_a_matrix_of_pixels_is_folded_column_by_column(tmp_path, cube_values, write):
    sides = {"nRow": np.array([[8]], dtype=np.uint8), "nCol": np.array([[12]], dtype=np.uint8)}
    matrix = cube_values.transpose(0, 2, 1).reshape(5, 96)
    write(tmp_path / "a.mat", {"Y": matrix, "M": np.zeros((5, 3)), "wavelength": NM[None], **sides})
    for variable in (None, "Y"):
        cube = open_cube(tmp_path / "a.mat", variable=variable)
        np.testing.assert_array_equal(cube, cube_values)
        np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    write(tmp_path / "b.mat", {"Y": matrix})
    with pytest.raises(FileFormatError, match="no variable of rank 3; the file holds Y 5x96"):
        open_cube(tmp_path / "b.mat")


@pytest.mark.parametrize("write", [scipy.io.savemat, lambda path, arrays: _write_v73(path, **arrays)])
def test_an_image_that_is_named_is_one_band(tmp_path, cube_values, write):
    write(tmp_path / "a.mat", {"hsi": cube_values.transpose(1, 2, 0), "pan": cube_values[0]})
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat", variable="pan"), cube_values[:1])
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat"), cube_values)


REAL = Path(__file__).parents[4] / "shared" / "data" / "remote_sensing"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real scenes are not at {REAL}")
@pytest.mark.parametrize(
    ("name", "variable", "shape"),
    [
        ("jasper_ridge_r198.mat", None, (198, 100, 100)),
        ("paris_hyperion_ali_hs_pan.mat", "PCim", (1, 216, 174)),
        ("paris_hyperion_ali_hs_pan.mat", None, (128, 72, 58)),
        ("muufl_gulfport.mat", None, (64, 100, 100)),
    ],
)
def test_real_files(name, variable, shape):
    assert open_cube(REAL / name, variable=variable).shape == shape


def test_several_cubes_of_one_size(tmp_path, cube_values):
    scipy.io.savemat(tmp_path / "a.mat", {"one": cube_values, "two": cube_values})
    with pytest.raises(FileFormatError, match=r"several cubes \(one, two\)"):
        open_cube(tmp_path / "a.mat")


def test_no_cube(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"table": np.zeros((3, 4))})
    with pytest.raises(FileFormatError, match="no variable of rank 3; the file holds table 3x4"):
        open_cube(tmp_path / "a.mat")


@pytest.mark.parametrize("version", ["v5", "v5z", "v73"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.4, 0.8, 0.98])
def test_a_truncated_file_is_one_clear_error(tmp_path, version, share):
    values = np.random.default_rng(0).random((20, 30, 12))
    path = tmp_path / "cut.mat"
    if version == "v73":
        _write_v73(path, data=values)
    else:
        scipy.io.savemat(path, {"data": values}, do_compression=version == "v5z")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError, match=r"cut\.mat") as caught:
        open_cube(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["external_link", "soft_link", "external_storage", "virtual"])
def test_hdf5_that_points_at_other_files_is_refused(tmp_path, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.ones((3, 4, 5))
    raw = tmp_path / "secret.bin"
    raw.write_bytes(b"\0" * 480)
    with h5py.File(tmp_path / "a.mat", "w") as file:
        if kind == "external_link":
            file["data"] = h5py.ExternalLink(str(secret), "/data")
        elif kind == "soft_link":
            file["real"] = np.ones((3, 4, 5))
            file["data"] = h5py.SoftLink("/real")
        elif kind == "external_storage":
            file.create_dataset("data", (3, 4, 5), dtype="f8", external=[(str(raw), 0, 480)])
        else:
            layout = h5py.VirtualLayout((3, 4, 5), dtype="f8")
            layout[:] = h5py.VirtualSource(str(secret), "data", shape=(3, 4, 5))
            file.create_virtual_dataset("data", layout)
    with pytest.raises(FileFormatError, match=r"link to another place|in another file"):
        open_cube(tmp_path / "a.mat")
