"""ENVI headers as different programs write them, read as GDAL reads them."""

import time
import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from hsipipe.errors import FileFormatError
from hsipipe.formats import open_cube
from hsipipe.formats.envi_header import read_header

NM = [450.0, 550.0, 650.0, 750.0]
BASE = "ENVI\nsamples = 5\nlines = 3\nbands = 4\nheader offset = 0\ndata type = 4\ninterleave = bsq\nbyte order = 0\n"
VALUES = np.random.default_rng(0).random((4, 3, 5), dtype=np.float32)
TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4"}


@pytest.fixture
def write(tmp_path):
    """Writes values and a header with further fields, and gives the path of the header."""

    def make(text, *, base=BASE, encoding="utf-8"):
        VALUES.tofile(tmp_path / "s.dat")
        (tmp_path / "s.hdr").write_bytes((base + text).encode(encoding))
        return tmp_path / "s.hdr"

    return make


@pytest.mark.parametrize(
    "text",
    [
        "wavelength units = nm\nwavelength = {450, 550, 650, 750}\n",
        "wavelength units = nm\nwavelength =\n{450, 550, 650, 750}\n",
        "wavelength units = nm\nwavelength = \n\n  {450,\n 550,\n650, 750\n}\nsensor type = x",
        "wavelength units = nm\nwavelength = {\n 450 , 550\n, 650, 750}\n",
        "wavelength units = nm\nwavelength = [450. 550. 650. 750.]\n",
        "wavelength units = nm\nwavelength = [450. 550.\n 650. 750.]\n",
        "wavelength units = nm\nwavelength = (450.0, 550.0, 650.0, 750.0)\n",
        "wavelength units = nm\nwavelength = [np.float64(450.), np.float64(550.), np.float64(650.), np.float64(750.)]",
        "wavelength units = nm\nwavelength = 450, 550, 650, 750\n",
        "wavelength units = nm\nwavelength = 450 550 650 750\n",
        "wavelength units = nm\nwavelength = {450,550,650,750,}\n",
        "wavelength units = nm\nwavelength = {450,0; 550,0; 650,0; 750,0}\n",
        "wavelength units = nm\nwavelength = {'450', '550', '650', '750'}\n",
        "wavelength = {450 nm, 550 nm, 650 nm, 750 nm}\n",
        "wavelength = {0.45 um, 0.55 um, 0.65 um, 0.75 um}\n",
        "Wavelength  Units = Nanometers (nm)\nWAVELENGTH={450,550,650,750}\n",
        "wavelength units = \u00b5m\nwavelength = {0.45, 0.55, 0.65, 0.75}\n",
        "wavelength units = Wavenumber\nwavelength = {22222.22222, 18181.81818, 15384.61538, 13333.33333}\n",
        "wavelength units = Unknown\nband names = {Blue (0.42-0.48 um), 0.5-0.6 um, 0.6-0.7 um, NIR 0.7-0.8 um}\n",
        "; wavelength = {1, 2, 3, 4}\nwavelength = {450, 550,\n; comment\n 650, 750}\n",
        "description = {\n wavelength = {1}\nwavelength = {450, 550, 650, 750}\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_wavelengths_in_the_words_of_many_programs(write, text, encoding):
    cube = open_cube(write(text, encoding=encoding))
    np.testing.assert_array_equal(cube, VALUES)
    np.testing.assert_allclose(cube["wavelength_nm"], NM)


def test_widths_of_wavenumbers(write):
    cm = 1e7 / np.array(NM)
    lists = [
        ", ".join(map(repr, map(float, numbers)))
        for numbers in (cm, 1e7 / (np.array(NM) - 5) - 1e7 / (np.array(NM) + 5))
    ]
    text = f"wavelength units = Wavenumber\nwavelength = {{{lists[0]}}}\nfwhm = {{{lists[1]}}}\n"
    cube = open_cube(write(text))
    np.testing.assert_allclose(cube["wavelength_nm"], NM)
    np.testing.assert_allclose(cube["fwhm_nm"], 10, rtol=1e-3)


GOOD = "wavelength units = nm\nwavelength = {450, 550, 650, 750}\n"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (GOOD + "bbl = {1,1,0,1,1}\n", "bbl"),
        (GOOD + "bbl = {yes, no, yes, yes}\n", "bbl"),
        (GOOD + "fwhm = {10, 10}\n", "fwhm"),
        (GOOD + "fwhm = {10, -10, 10, 10}\n", "fwhm"),
        (GOOD + "fwhm = {10, x, 10, 10}\n", "fwhm"),
        (GOOD + "data ignore value = none\n", "data ignore value"),
        (GOOD + "data ignore value = {1, 2}\n", "data ignore value"),
        (GOOD + "reflectance scale factor = unknown\n", "reflectance scale factor"),
        (GOOD + "band names = {a\n", "band names"),
    ],
)
def test_an_odd_field_costs_that_field_alone(write, caplog, text, field):
    cube = open_cube(write(text))
    np.testing.assert_array_equal(cube, VALUES)
    np.testing.assert_array_equal(cube["wavelength_nm"], NM)
    assert set(cube.coords) == {"wavelength_nm"}
    assert cube.attrs == {}
    assert f"{field!r}" in caplog.text


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("wavelength = {450, 550}\n", "wavelength"),
        ("wavelength = {450, 550, 650, 750, 850}\n", "wavelength"),
        ("wavelength = {a, b, c, d}\n", "wavelength"),
        ("wavelength = {1, 2, 3, 4}\nwavelength units = Nanometers\n", "wavelength"),
        ("wavelength = {450, 550, 650, 750}\nwavelength units = GHz\n", "wavelength units"),
        ("wavelength = {450, 550, 650,\n", "wavelength"),
        ("wavelength = [450. 550. ... 750.]\n", "wavelength"),
    ],
)
def test_odd_wavelengths_are_told_and_the_values_are_read(write, caplog, text, field):
    cube = open_cube(write(text))
    np.testing.assert_array_equal(cube, VALUES)
    assert "wavelength_nm" not in cube.coords
    assert f"{field!r}" in caplog.text


def test_bad_bands_and_the_values_that_say_no_data_band_by_band(write):
    text = f"bbl = {{1.0, 0, 1, 0}}\ndata ignore value = {{{', '.join(map(repr, map(float, VALUES[:, 0, 0])))}}}\n"
    cube = open_cube(write(text))
    assert cube.attrs["bad_bands"] == [2, 4]
    assert np.isnan(cube.values).sum() == 4
    assert np.isnan(cube.values[:, 0, 0]).all()


def test_alpha_and_quality_among_the_band_names_are_no_bands(tmp_path, caplog):
    values = VALUES.copy()
    values[1] = np.eye(3, 5)
    values.tofile(tmp_path / "s.dat")
    lists = "wavelength units = nm\nwavelength = {450, 0, 650, 750}\nbbl = {1, 1, 1, 0}\n"
    lists += "band names = {red, alpha, nir, QA}\n"
    (tmp_path / "s.hdr").write_text(BASE + lists + f"data ignore value = {float(values[0, 0, 0])!r}\n")
    cube = open_cube(tmp_path / "s.hdr")
    expected = np.where((np.eye(3, 5) == 0) | (values == values[0, 0, 0]), np.nan, values)[[0, 2]]
    np.testing.assert_array_equal(cube, expected)
    np.testing.assert_array_equal(cube["wavelength_nm"], [450, 650])
    assert cube.attrs["bad_bands"] == []
    assert "band 4, 'QA', is not a spectral band" in caplog.text


def test_a_fill_value_that_float32_rounds(tmp_path):
    values = VALUES.copy()
    values[1, 1, 1] = -0.01
    values.tofile(tmp_path / "s.dat")
    (tmp_path / "s.hdr").write_text(BASE + "data ignore value = -0.01\n")
    assert np.argwhere(np.isnan(open_cube(tmp_path / "s.dat").values)).tolist() == [[1, 1, 1]]


def test_a_structural_field_with_two_values_is_an_error(write):
    with pytest.raises(FileFormatError, match=r"s\.hdr: the header has the field 'lines' twice, '3' and '5'"):
        open_cube(write("lines = 5\n"))
    assert open_cube(write("lines = 3\nsensor type = a\nsensor type = b\n")).shape == (4, 3, 5)


def test_integers_as_floats(write):
    assert open_cube(write("", base=BASE.replace("samples = 5", "samples = 5.0"))).shape == (4, 3, 5)


def test_a_header_that_describes_another_size_is_told(write, caplog):
    assert open_cube(write("", base=BASE.replace("bands = 4", "bands = 3"))).shape == (3, 3, 5)
    assert "s.dat has 240 bytes, 180 by its header" in caplog.text


def test_a_tiff_with_an_envi_header_is_not_read_as_raw_numbers(tmp_path):
    profile = {"count": 4, "height": 3, "width": 5, "dtype": "float32"}
    with rasterio.open(
        tmp_path / "s.dat", "w", driver="GTiff", transform=rasterio.Affine(2, 0, 0, 0, -2, 0), **profile
    ):
        pass
    (tmp_path / "s.hdr").write_text(BASE)
    with pytest.raises(FileFormatError, match=r"s\.dat is a TIFF file, expected raw numbers"):
        open_cube(tmp_path / "s.hdr")


@pytest.mark.parametrize(
    "text",
    [
        " " * 300_000 + "x",
        "a" + " " * 300_000 + "= 1",
        ("a = {" + "\n") * 100_000,
        ("a =\n") * 100_000,
        "wavelength = {" + " " * 300_000 + "}",
        "wavelength = [" + "1," * 200_000 + "]",
        "band names = {" + "450-" * 100_000 + "}",
    ],
)
def test_a_long_header_takes_no_time(write, text):
    path = write(text)
    start = time.process_time()
    open_cube(path)
    assert time.process_time() - start < 2


def test_a_huge_header_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "s.hdr").open("wb") as stream:
        stream.write(b"ENVI\n")
        stream.truncate(1 << 30)
    with pytest.raises(FileFormatError, match="expected at most 16777216 for an ENVI header"):
        read_header(tmp_path / "s.hdr")


@st.composite
def dialects(draw):
    """A header in a random dialect, and the values that it describes."""
    shape = tuple(draw(st.integers(1, 4)) for _ in range(3))
    code, big, offset = draw(st.sampled_from(sorted(TYPES))), draw(st.booleans()), draw(st.sampled_from([0, 3, 64]))
    interleave = draw(st.sampled_from(["bsq", "bil", "bip"]))
    bands, lines, samples = shape
    fields = {
        "samples": samples, "lines": lines, "bands": bands, "header offset": offset, "data type": code,
        "interleave": interleave, "byte order": int(big), "description": "{\n samples = 9,\n lines = 9}",
        "sensor type": "Unknown", "band names": "{" + ", ".join(f"Band {n}" for n in range(bands)) + "}",
    }  # fmt: skip
    nm = [float(400 + 7 * n) for n in range(bands)]
    listed = draw(st.sampled_from([", ", ",", " ,\n ", ",\n"])).join(map(str, nm))
    fields |= {"wavelength": "{" + listed + "}", "wavelength units": "Nanometers"}
    names = draw(st.permutations(sorted(fields)))
    case = draw(st.sampled_from([str.lower, str.title, str.upper]))
    equals = draw(st.sampled_from([" = ", "=", "   =  ", " =\t"]))
    end = draw(st.sampled_from(["\n", "\r\n", " \n", "\n\n", "\n; a comment = 7\n"]))
    header = "ENVI" + end + "".join(f"{case(name)}{equals}{fields[name]}{end}" for name in names)
    values = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 100, size=shape).astype(TYPES[code])
    order = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    raw = b"\xff" * offset + values.transpose(order).astype(values.dtype.newbyteorder(">" if big else "<")).tobytes()
    return header, raw, values, nm


@settings(max_examples=80, deadline=None)
@given(dialects())
def test_what_gdal_reads_is_read_alike(tmp_path_factory, dialect):
    header, raw, values, nm = dialect
    path = tmp_path_factory.mktemp("envi") / "s.dat"
    path.write_bytes(raw)
    path.with_suffix(".hdr").write_bytes(header.encode())
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, values)
    if len(nm) > 1:
        np.testing.assert_allclose(cube["wavelength_nm"], nm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            raster = rasterio.open(path, driver="ENVI")
        except RasterioIOError:  # GDAL opens no file of one byte
            return
        with raster:
            np.testing.assert_array_equal(cube, raster.read())


@settings(max_examples=40, deadline=None)
@given(dialects())
def test_what_spectral_python_reads_is_read_alike(tmp_path_factory, dialect):
    envi = pytest.importorskip("spectral.io.envi")
    header, raw, _, _ = dialect
    path = tmp_path_factory.mktemp("envi") / "s.dat"
    path.write_bytes(raw)
    path.with_suffix(".hdr").write_bytes(header.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of capitals in names
        image = envi.open(str(path.with_suffix(".hdr")), str(path))
        theirs = np.asarray(image.load()).transpose(2, 0, 1)
    cube = open_cube(path)
    np.testing.assert_array_equal(cube, theirs)
    if len(cube) > 1:
        np.testing.assert_allclose(cube["wavelength_nm"], image.bands.centers)
