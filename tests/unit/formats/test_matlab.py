import pickle

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube

NM = np.array([450.0, 500.0, 550.0, 600.0, 650.0])


CLASSES = {"f4": "single", "f8": "double", "u2": "uint16", "i2": "int16", "u1": "uint8", "b1": "logical"}


def _write_v73(path, *, userblock=512, options=None, **arrays):
    """As MATLAB writes it: axes reversed, MATLAB_class, a header of 512 bytes, structs as groups."""
    with h5py.File(path, "w", userblock_size=userblock) as file:
        _fill(file, arrays, options or {})


def _fill(group, arrays, options):
    for name, values in arrays.items():
        if isinstance(values, dict):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            _fill(inner, values, options)
            continue
        values = np.atleast_2d(values)
        entry = group.create_dataset(name, data=values.T, **(options if values.ndim == 3 else {}))
        entry.attrs["MATLAB_class"] = np.bytes_(CLASSES.get(values.dtype.str[1:], "double"))


def _write_v5(path, **arrays):
    scipy.io.savemat(path, arrays)


BOTH = pytest.mark.parametrize("write", [_write_v5, _write_v73])


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


@BOTH
def test_a_matrix_of_pixels_is_folded_column_by_column(tmp_path, cube_values, write):
    sides = {"nRow": np.array([[8]], dtype=np.uint8), "nCol": np.array([[12]], dtype=np.uint8)}
    matrix = cube_values.transpose(0, 2, 1).reshape(5, 96)
    write(tmp_path / "a.mat", Y=matrix, M=np.zeros((5, 3)), wavelength=NM[None], **sides)
    for variable in (None, "Y"):
        cube = open_cube(tmp_path / "a.mat", variable=variable)
        np.testing.assert_array_equal(cube, cube_values)
        np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    write(tmp_path / "b.mat", Y=matrix)
    with pytest.raises(
        FileFormatError,
        match=r"no variable of rank 3; the file holds Y 5x96\. A matrix .* store nRow and nCol in the same file",
    ):
        open_cube(tmp_path / "b.mat")


@BOTH
def test_an_image_that_is_named_is_one_band(tmp_path, cube_values, write):
    write(tmp_path / "a.mat", hsi=cube_values.transpose(1, 2, 0), pan=cube_values[0])
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat", variable="pan"), cube_values[:1])
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat"), cube_values)


def test_several_cubes_of_one_size(tmp_path, cube_values):
    scipy.io.savemat(tmp_path / "a.mat", {"one": cube_values, "two": cube_values})
    with pytest.raises(FileFormatError, match=r"several cubes \(one, two\)"):
        open_cube(tmp_path / "a.mat")


def test_no_cube(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"table": np.zeros((3, 4))})
    with pytest.raises(FileFormatError, match="no variable of rank 3; the file holds table 3x4"):
        open_cube(tmp_path / "a.mat")


@pytest.mark.parametrize("kind", ["external_link", "external_storage", "virtual"])
def test_hdf5_that_points_at_other_files_is_refused(tmp_path, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.ones((3, 4, 5))
    raw = tmp_path / "secret.bin"
    raw.write_bytes(b"\0" * 480)
    with h5py.File(tmp_path / "a.mat", "w") as file:
        if kind == "external_link":
            file["data"] = h5py.ExternalLink(str(secret), "/data")
        elif kind == "external_storage":
            file.create_dataset("data", (3, 4, 5), dtype="f8", external=[(str(raw), 0, 480)])
        else:
            layout = h5py.VirtualLayout((3, 4, 5), dtype="f8")
            layout[:] = h5py.VirtualSource(str(secret), "data", shape=(3, 4, 5))
            file.create_virtual_dataset("data", layout)
    with pytest.raises(FileFormatError, match=r"link to another place|in another file"):
        open_cube(tmp_path / "a.mat")


@BOTH
@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "u2", "i2"])
def test_every_type_of_number_becomes_float32(tmp_path, write, kind):
    values = np.random.default_rng(0).integers(0, 100, size=(6, 7, 4)).astype(kind)
    write(tmp_path / "a.mat", data=values)
    cube = open_cube(tmp_path / "a.mat")
    assert (cube.dtype, cube.encoding["stored_dtype"]) == (np.float32, np.dtype(kind).name)
    np.testing.assert_array_equal(cube, values.transpose(2, 0, 1))


@BOTH
def test_a_cube_inside_a_struct_is_found_with_its_wavelengths(tmp_path, cube_values, write):
    hsi = {
        "Data": cube_values.transpose(1, 2, 0),
        "RGB": np.zeros((8, 12, 3)),
        "info": {"wavelength": NM / 1000, "date": "2010-11-08"},
    }
    if write is _write_v73:
        hsi["info"] = {"wavelength": NM / 1000}
    write(tmp_path / "a.mat", hsi=hsi)
    for variable in (None, "hsi", "hsi.Data", "Data"):
        cube = open_cube(tmp_path / "a.mat", variable=variable)
        np.testing.assert_array_equal(cube, cube_values)
        np.testing.assert_allclose(cube["wavelength_nm"], NM)
    assert cube.encoding["variable"] == "hsi.Data"


@BOTH
@pytest.mark.parametrize(
    ("rows", "columns"), [("nRow", "nCol"), ("rows", "cols"), ("lines", "samples"), ("H", "W"), ("nrow", "ncol")]
)
@pytest.mark.parametrize("pixels_first", [False, True])
def test_sides_of_a_matrix_by_their_usual_names(tmp_path, cube_values, write, rows, columns, pixels_first):
    matrix = cube_values.transpose(0, 2, 1).reshape(5, 96)
    write(
        tmp_path / "a.mat",
        Y=matrix.T if pixels_first else matrix,
        A=np.ones((3, 96)),
        maxValue=np.array([[1.0]]),
        **{rows: np.array([[8.0]]), columns: np.array([[12.0]])},
    )
    cube = open_cube(tmp_path / "a.mat")
    np.testing.assert_array_equal(cube, cube_values)


@BOTH
def test_wavelengths_may_have_any_name_of_that_kind_and_show_the_axis(tmp_path, write):
    values = np.random.default_rng(0).random((9, 7, 8), dtype=np.float32)
    for axis in range(3):
        nm = np.linspace(400, 700, values.shape[axis])
        write(tmp_path / "a.mat", cube=values, CenterWavelengths=nm[:, None])
        cube = open_cube(tmp_path / "a.mat")
        np.testing.assert_array_equal(cube, np.moveaxis(values, axis, 0))
        np.testing.assert_allclose(cube["wavelength_nm"], nm)


@BOTH
def test_a_number_of_bands_or_an_image_shows_the_axis(tmp_path, write):
    values = np.random.default_rng(0).random((6, 7, 8), dtype=np.float32)
    write(tmp_path / "a.mat", cube=values, nBand=np.array([[6.0]]))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat"), values)
    write(tmp_path / "b.mat", cube=values, map=np.ones((7, 8)))
    np.testing.assert_array_equal(open_cube(tmp_path / "b.mat"), values)
    write(tmp_path / "c.mat", cube=values, map=np.ones((6, 7)))
    np.testing.assert_array_equal(open_cube(tmp_path / "c.mat"), values.transpose(2, 0, 1))


def test_numbers_of_kept_bands_are_no_wavelengths(tmp_path):
    values = np.random.default_rng(0).random((6, 7, 9), dtype=np.float32)
    scipy.io.savemat(tmp_path / "a.mat", {"cube": values, "bands": np.arange(100.0, 109), "SlectBands": np.arange(9.0)})
    assert "wavelength_nm" not in open_cube(tmp_path / "a.mat").coords


@BOTH
def test_a_mask_of_the_same_size_does_not_disturb(tmp_path, cube_values, write):
    write(tmp_path / "a.mat", data=cube_values, good=cube_values > 0.5)
    assert open_cube(tmp_path / "a.mat").encoding["variable"] == "data"
    assert set(np.unique(open_cube(tmp_path / "a.mat", variable="good"))) == {0, 1}


@BOTH
def test_the_largest_of_several_cubes_is_taken(tmp_path, cube_values, write):
    write(tmp_path / "a.mat", HSim=cube_values.transpose(1, 2, 0), MSim=np.ones((8, 12, 3)))
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat"), cube_values)


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 3, 4)}, {"chunks": (2, 3, 4), "compression": "gzip"}])
@pytest.mark.parametrize("userblock", [0, 512])
def test_v73_stays_in_the_file_until_it_is_needed(tmp_path, options, userblock):
    values = np.random.default_rng(0).random((60, 70, 40))
    _write_v73(tmp_path / "a.mat", userblock=userblock, options=options, data=values)
    cube = open_cube(tmp_path / "a.mat")
    expected = values.transpose(2, 0, 1).astype(np.float32)
    assert cube.chunks is not None
    np.testing.assert_array_equal(cube, expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cube))[3, ::-7, 2:9], expected[3, ::-7, 2:9])


def test_a_v73_file_that_goes_away_is_named_when_it_is_read(tmp_path):
    _write_v73(tmp_path / "a.mat", data=np.zeros((60, 70, 40)))
    cube = open_cube(tmp_path / "a.mat")
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"a\.mat cannot be read, the file is damaged"):
        cube.load()


def test_what_is_no_full_array_of_real_numbers_is_named(tmp_path):
    things = {
        "s": scipy.sparse.eye(4, format="csc"),
        "t": "text",
        "c": np.array([{"a": 1}, 2], dtype=object),
        "z": np.zeros((3, 4, 5), dtype=complex),
    }
    scipy.io.savemat(tmp_path / "a.mat", things)
    for name, kind in (("s", "sparse"), ("t", "char"), ("c", "cell")):
        with pytest.raises(FileFormatError, match=rf"variable '{name}' is of class {kind}, expected a full array"):
            open_cube(tmp_path / "a.mat", variable=name)
    with pytest.raises(FileFormatError, match="variable 'z' is complex128, expected real numbers"):
        open_cube(tmp_path / "a.mat")
    scipy.io.savemat(tmp_path / "b.mat", {"s": things["s"], "t": "text"})
    with pytest.raises(FileFormatError, match=r"no variable of rank 3; .*skipped: s \(sparse\), t \(char\)"):
        open_cube(tmp_path / "b.mat")


def test_what_v73_has_beside_cubes_is_named(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        pairs = np.zeros((3, 4, 5), dtype=[("real", "f8"), ("imag", "f8")])
        file.create_dataset("z", data=pairs).attrs["MATLAB_class"] = np.bytes_("double")
        file.create_dataset("t", data=np.zeros((3, 1), np.uint16)).attrs["MATLAB_class"] = np.bytes_("char")
        file.create_dataset("e", data=np.zeros(2, np.uint64)).attrs.update(MATLAB_class=b"double", MATLAB_empty=1)
        file.create_group("s").attrs.update(MATLAB_class=np.bytes_("double"), MATLAB_sparse=5)
        file["s/data"] = np.zeros((3, 4, 5))
        file["#refs#/a"] = np.zeros((3, 4, 5))
    for name, kind in (("z", "complex"), ("t", "char"), ("e", "empty array"), ("s", "sparse")):
        with pytest.raises(FileFormatError, match=rf"variable '{name}' is of class {kind}"):
            open_cube(tmp_path / "a.mat", variable=name)
    with pytest.raises(FileFormatError, match=r"no variable of rank 3; the file holds nothing; skipped: "):
        open_cube(tmp_path / "a.mat")


def test_groups_that_contain_each_other_are_searched_once(tmp_path, cube_values):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["g/data"] = cube_values
        file["g/again"] = file["g"]
    np.testing.assert_array_equal(open_cube(tmp_path / "a.mat").values, cube_values.transpose(2, 0, 1))


@pytest.mark.parametrize("version", ["v5", "v5z", "struct", "v73", "v73z"])
def test_a_file_cut_anywhere_is_an_error_or_whole(tmp_path, version):
    values = np.random.default_rng(0).random((12, 10, 6))
    path = tmp_path / "cut.mat"
    if version.startswith("v73"):
        _write_v73(
            path, options={"chunks": (3, 10, 4), "compression": "gzip"} if version == "v73z" else {}, data=values
        )
    else:
        arrays = {"hsi": {"Data": values}} if version == "struct" else {"data": values}
        scipy.io.savemat(path, arrays, do_compression=version == "v5z")
    content = path.read_bytes()
    expected = values.transpose(2, 0, 1).astype(np.float32)
    for size in [*range(0, len(content), 97), *range(len(content) - 8, len(content))]:
        path.write_bytes(content[:size])
        found, message = _values_or_message(path)
        if found is None:
            assert str(path) in message
            assert "\n" not in message
        else:
            np.testing.assert_array_equal(found, expected)


def _values_or_message(path):
    try:
        return open_cube(path).values, ""
    except FileFormatError as error:
        return None, str(error)
