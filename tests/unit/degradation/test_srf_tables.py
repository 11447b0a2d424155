import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.degradation.srf import apply_response, band_names, response, srf_identity
from hsipipe.errors import DataError, FileFormatError, MissingInputError, UnknownNameError

NM = np.arange(400.0, 701.0, 10.0)
MATRIX = np.random.default_rng(0).random((3, 31))
IN_NM = """;; a sensor
;; source: nothing below 340 nm was measured
;; datasets: wavelength, RSR, RSR sd
;;
;; BAND 1
440\t-0.0001\t0
450\t1\t0.1
460\t1\t0.1
470\t0\t0
;; BAND 8A
;590 0.1 0
600\t0\t0
610\t1\t0.1
620\t0\t0
"""
IN_MICRONS = """# QV, removed response below 340 nm
#
#  IKO 2 Band PAN
#
#  Wavelength
#   (microns)\tRelative response
#  __________\t___________
0.4\t0.5
0.7\t0.5
#  IKO 2 Band 1 Blue
#  Wavelength
#   (microns)
0.450 , 1
0.440 , 0
0.470 , 0
0.460 , 1
"""


@pytest.fixture
def table(tmp_path):
    """A function that writes a table and returns its path as text."""

    def write(text, name="sensor.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_sections_in_nm(table):
    path = table(IN_NM)
    assert band_names(path) == ["1", "8A"]
    matrix = response(path, NM)
    # The trapezoid over 440..470 has the area 20; the cell of 440 nm gets 1/8 of its rise's 10.
    np.testing.assert_allclose(matrix[0][[3, 4, 5, 6, 7, 8]], np.array([0, 1.25, 8.75, 8.75, 1.25, 0]) / 20)
    np.testing.assert_allclose(matrix[1][[19, 20, 21, 22, 23]], np.array([0, 1.25, 7.5, 1.25, 0]) / 10)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_sections_in_micrometres_are_the_same(table):
    path = table(IN_MICRONS)
    assert band_names(path) == ["PAN", "1 Blue"]
    np.testing.assert_allclose(response(path, NM)[1], response(table(IN_NM, "nm.txt"), NM)[0], atol=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "wavelength_nm,red,green\n400,0,1\n500,1,1\n600,1,0\n",
        "Wavelength (nm);red;green\n400;0;1\n500;1;1\n600;1;0\n",
        '\ufeff"wavelength (um)","red","green"\n0.4,0,1\n0.5,1,1\n0.6,1,0\n',
        "lambda [\u00b5m]\tred\tgreen\n0.4\t0\t1\n0.5\t1\t1\n0.6\t1\t0\n",
        "um red green\n0.4 0 1\n0.5 1 1\n0.6 1 0\n",
        "wl,red,green\n0.4,0,1\n0.5,1,1\n0.6,1,0\n",
        "nm,red,green\n600,1,0\n500,1,1\n400,0,1\n",
    ],
)
def test_a_column_a_band(table, text):
    path = table(text, "camera.csv")
    assert band_names(path) == ["red", "green"]
    matrix = response(path, np.array([400.0, 500.0, 600.0]))
    np.testing.assert_allclose(matrix, np.array([[12.5, 87.5, 50.0], [50.0, 87.5, 12.5]]) / 150)


@pytest.mark.parametrize("text", ["400,0,1\n500,1,1\n600,1,0\n", "# wavelength (um)\n0.4 0 1\n0.5 1 1\n0.6 1 0\n"])
def test_columns_without_names_are_counted(table, text):
    path = table(text, "camera.csv")
    assert band_names(path) == ["1", "2"]
    assert response(f"{path}#2", np.array([400.0, 500.0, 600.0]))[0, 0] == pytest.approx(1 / 3)


def test_bands_are_chosen_by_name_or_number(table):
    path = table(IN_MICRONS)
    assert band_names(f"{path}#blue") == band_names(f"{path}#1") == band_names(f"{path}#1 Blue") == ["1 Blue"]
    assert band_names(f"{path}#1, pan") == ["1 Blue", "PAN"]
    np.testing.assert_array_equal(response(f"{path}#1,PAN", NM), response(path, NM)[::-1])
    counted = table("nm,red,green\n400,0,1\n500,1,1\n", "camera.csv")
    assert band_names(f"{counted}#2") == ["green"]
    with pytest.raises(UnknownNameError, match=r"sensor\.txt has no band '2'\. Its bands: PAN, 1 Blue\."):
        response(f"{path}#2", NM)
    twice = table("nm,red,red\n400,0,1\n500,1,1\n", "twice.csv")
    with pytest.raises(UnknownNameError, match="has 2 bands called 'red'"):
        band_names(f"{twice}#red")


def test_a_band_outside_the_cube_tells_how_to_choose(table):
    path = table(IN_NM)
    nm = np.arange(430.0, 500.0, 5.0)
    message = (
        r"Band 8A of .* \(around 610 nm\) lies outside the cube's 430 to 495 nm: 0% of its response is inside, "
        r"expected 80% or more\. Select .* set degradation\.srf to .*sensor\.txt#1$"
    )
    with pytest.raises(DataError, match=message):
        response(path, nm)
    assert response(f"{path}#1", nm).shape == (1, 14)
    with pytest.raises(DataError, match="12% of its response is inside"):
        response(f"{path}#8A", np.arange(400.0, 606.0, 10.0))
    with pytest.raises(DataError, match="No band of this table fits"):
        response(path, np.arange(1500.0, 1600.0, 10.0))


@given(inner=st.lists(st.floats(380, 720), max_size=60), seed=st.integers(0, 9))
def test_rows_of_any_wavelengths_sum_to_one(tmp_path_factory, inner, seed):
    rng = np.random.default_rng(seed)
    nm = rng.permutation(np.array([380.0, *inner, 720.0]))
    path = tmp_path_factory.mktemp("srf") / "curves.csv"
    curves = np.column_stack([np.arange(400, 701, 5), rng.random((61, 2))])
    np.savetxt(path, curves, delimiter=",", header="wavelength_nm,a,b", comments="")
    matrix = response(str(path), nm)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    order = np.argsort(nm, kind="stable")
    np.testing.assert_allclose(matrix[:, order], response(str(path), nm[order]), atol=1e-12)


def test_it_is_the_integral_of_the_curve(table):
    """Against a sum over fine steps, for bands wider and narrower than the steps of the table."""
    text = "nm,a\n" + "".join(f"{nm},{abs(np.sin(nm)):.6f}\n" for nm in range(400, 701, 7))
    curve = np.array([line.split(",") for line in text.splitlines()[1:]], dtype=float)
    for step in (2.0, 50.0):
        nm = np.arange(400.0, 701.0, step)
        fine = (nm[:, None] - step / 2 + step * (np.arange(2000) + 0.5) / 2000).ravel()
        values = np.interp(fine, *curve.T, left=0, right=0).reshape(nm.size, -1).mean(axis=1)
        np.testing.assert_allclose(response(table(text), nm)[0], values / values.sum(), atol=1e-5)


def _mat(path):
    scipy.io.savemat(path, {"R": MATRIX.T, "C": np.ones((32, 32)), "scene": np.ones((4, 5, 31)), "name": "x"})


def _mat73(path):
    with h5py.File(path, "w") as file:
        file["R"] = MATRIX


def _rows(path):
    np.savetxt(path, MATRIX, delimiter=",")


def _columns(path):
    np.savetxt(path, MATRIX.T, delimiter=",", header="red,green,blue", comments="")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.mat", _mat),
        ("v73.mat", _mat73),
        ("a.npy", lambda path: np.save(path, MATRIX)),
        ("turned.npy", lambda path: np.save(path, np.asfortranarray(MATRIX.T))),
        ("a.csv", _rows),
        ("turned.csv", _columns),
    ],
)
def test_matrices_in_either_orientation(tmp_path, name, write):
    path = tmp_path / name
    write(path)
    expected = MATRIX / MATRIX.sum(axis=1, keepdims=True)
    for wavelengths, bands in ((NM, None), ([], 31), (np.full(31, np.nan), None)):
        np.testing.assert_allclose(response(str(path), wavelengths, bands=bands), expected)
    assert band_names(str(path)) == (["red", "green", "blue"] if name == "turned.csv" else ["1", "2", "3"])
    np.testing.assert_allclose(response(f"{path}#3,1", NM), expected[[2, 0]])
    shape = r"(3 x 31|31 x 3)"
    with pytest.raises(DataError, match=rf"is for other bands: got .*{shape}.*, expected one axis of 30"):
        response(str(path), NM[:30])


def test_a_matrix_whose_first_column_is_the_wavelength(tmp_path):
    path = tmp_path / "curves.mat"
    nm = np.arange(390.0, 711.0, 5.0)
    scipy.io.savemat(path, {"curves": np.column_stack([nm, np.ones_like(nm), np.exp(-(((nm - 500) / 50) ** 2))])})
    matrix = response(str(path), NM)
    assert matrix.shape == (2, 31)
    assert matrix[1] @ NM == pytest.approx(500, abs=2)


@pytest.mark.parametrize(
    ("per_nm", "order"),
    [(1, slice(None)), (1, slice(None, None, -1)), (1, [*range(1, 31, 2), *range(0, 31, 2)]), (1e-3, slice(None))],
)
@pytest.mark.parametrize("turned", [False, True])
def test_wavelengths_at_the_cube_s_own_bands_are_no_band(tmp_path, per_nm, order, turned):
    curves = np.column_stack([NM * per_nm, MATRIX if len(MATRIX) == 31 else MATRIX.T])[order]
    np.save(tmp_path / "curves.npy", curves.T if turned else curves)
    np.savetxt(tmp_path / "curves.txt", curves.T if turned else curves)
    for name in ("curves.npy", "curves.txt"):
        assert response(str(tmp_path / name), NM).shape == (3, 31)


def test_wavelengths_beside_another_column_are_no_band(table):
    rows = "\n".join(f"{number},{nm:g},1" for number, nm in enumerate(NM))
    with pytest.raises(FileFormatError, match="wavelengths are not in the first column, which is 'index'"):
        response(table(f"index,wavelength,r\n{rows}\n"), NM)


def test_files_that_hold_several_matrices(tmp_path):
    path = tmp_path / "two.mat"
    scipy.io.savemat(path, {"R": MATRIX, "wl": NM})
    assert response(str(path), NM).shape == (3, 31)
    scipy.io.savemat(path, {"R": MATRIX, "Q": MATRIX})
    with pytest.raises(DataError, match=r"holds (R, Q|Q, R), expected a single matrix .*; save it"):
        response(str(path), NM)


@pytest.mark.parametrize("row", [np.zeros(31), np.full(31, -1.0), np.full(31, np.nan)])
def test_a_matrix_that_is_no_response(tmp_path, row):
    np.save(tmp_path / "a.npy", np.stack([row, np.ones(31)]))
    with pytest.raises(DataError, match="has NaN, negative weights or a band of zeros"):
        response(str(tmp_path / "a.npy"), NM)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it holds no numbers"),
        ("# BAND 1\n400 0\n500 1\n# BAND 2\n", "band 2 has no rows; the file seems truncated"),
        ("# BAND 1\n400 0\n500 1\n600\n", "line 4 has 1 columns, the rows above it 2; the file seems truncated"),
        ("# BAND 1\n400\n500\n", "band 1 has one column"),
        ("# BAND 1\n400 0\n500 one\n", "line 3 is no row of numbers: '500 one'"),
        ("# BAND 1\n400 0\n400 1\n", "band 1 needs two or more different positive wavelengths"),
        ("# BAND 1\n400 0\n500 nan\n", "band 1 holds NaN or infinite values"),
        ("# BAND 1\n400 -1\n500 1\n", "band 1 has responses from -1 to 1, expected 0 or more"),
        ("# BAND 1\n400 0\n500 0\n", "band 1 has responses from 0 to 0, expected 0 or more"),
        ("# BAND 1 wavelength\n# (nm)\n0.4 0\n0.5 1\n", r"band 1 names nm as its unit, but runs from 0\.4 to 0\.5"),
        ("400 1\n500 1\n# BAND 2\n400 1\n500 1\n", "it has 2 rows above the heading of the first band"),
        ("nm,red\n400,1,1\n500,1,1\n", "the header names 2 columns, but the rows have 3"),
        ("\x00\x01garbage\n\x7f\n", "is no row of numbers"),
    ],
)
def test_damaged_tables(table, text, message):
    with pytest.raises(FileFormatError, match=rf"sensor\.txt cannot be read as a table .*{message}"):
        response(table(text), NM)


def test_damaged_files(tmp_path):
    whole = tmp_path / "whole.mat"
    _mat(whole)
    np.save(tmp_path / "whole.npy", MATRIX)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    for name in ("whole.mat", "whole.npy"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"cut_{name}").write_bytes(content[: len(content) // 3])
    (tmp_path / "garbage.mat").write_bytes(bytes(range(256)) * 4)
    for name in ("cut_whole.mat", "cut_whole.npy", "objects.npy", "garbage.mat"):
        with pytest.raises(FileFormatError, match=f"{name} cannot be read"):
            response(str(tmp_path / name), NM)


def test_a_file_that_points_elsewhere_is_refused(tmp_path):
    with h5py.File(tmp_path / "link.mat", "w") as file:
        file["R"] = h5py.ExternalLink("/etc/other.h5", "/R")
    with pytest.raises(FileFormatError, match="link to another place"):
        response(str(tmp_path / "link.mat"), NM)


def test_names_and_paths(table, tmp_path):
    with pytest.raises(MissingInputError, match=r"No file .*nowhere\.txt, which degradation\.srf names"):
        response(str(tmp_path / "nowhere.txt"), NM)
    with pytest.raises(MissingInputError, match="No file folder/nikon"):
        srf_identity("folder/nikon")
    with pytest.raises(UnknownNameError, match=r"Unknown spectral response 'nikon'"):
        srf_identity("nikon")
    with pytest.raises(DataError, match="The cube has no wavelengths"):
        response(table(IN_NM), [np.nan] * 31)


def test_what_stands_for_a_table_in_hashes(table):
    first, second = table(IN_NM, "a.txt"), table(IN_NM, "b.txt")
    assert srf_identity(first) == srf_identity(second)
    assert srf_identity(first).startswith("sha256:")
    assert srf_identity(f"{first}#1") == f"{srf_identity(first)}#1"
    assert srf_identity(table(IN_NM + "\n", "c.txt")) != srf_identity(first)
    assert srf_identity("rgb") == "rgb"


def test_a_constant_spectrum_stays_under_a_table(table):
    cube = np.full((31, 2, 3), 0.3, dtype=np.float32)
    np.testing.assert_allclose(apply_response(response(table(IN_NM), NM), cube), 0.3, rtol=1e-6)
