import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.errors import FileFormatError
from hsipipe.formats.wavelengths import centres, find_bad_bands, find_wavelengths, in_nm, may_be_wavelengths

NM = np.array([450.0, 500.0, 550.0])


@pytest.mark.parametrize("units", ["nm", "Nanometers", "um", "µm", "micron", "mm", "m", "Angstroms"])
def test_units(units):
    factor = {"n": 1, "u": 1e-3, "µ": 1e-3, "A": 10}.get(units[0], {"micron": 1e-3, "mm": 1e-6, "m": 1e-9}.get(units))
    if units.startswith("N"):
        factor = 1
    np.testing.assert_allclose(in_nm(NM * factor, units), NM)


@pytest.mark.parametrize("units", [None, "", "Unknown", "none"])
@pytest.mark.parametrize("factor", [1, 1e-3, 1e-9])
def test_the_magnitude_tells_where_nothing_else_does(units, factor):
    np.testing.assert_allclose(in_nm(NM * factor, units), NM)


def test_a_unit_wins_over_the_magnitude():
    np.testing.assert_allclose(in_nm([50.0], "nm"), [50.0])


@pytest.mark.parametrize("units", ["Nanometers (nm)", "[nm]", '"nm"', "nm "])
def test_units_in_the_words_of_other_programs(units):
    np.testing.assert_allclose(in_nm(NM, units), NM)


@pytest.mark.parametrize("units", ["cm-1", "Wavenumber", "1/cm"])
def test_wavenumbers(units):
    np.testing.assert_allclose(in_nm(1e7 / NM, units), NM)


def test_a_unit_that_is_no_length():
    with pytest.raises(FileFormatError, match="'nu' is in 'GHz', expected nm, um, m or wavenumbers in cm-1; convert"):
        in_nm(NM, "GHz", name="nu")


@pytest.mark.parametrize("order", [NM[::-1], np.array([500.0, 450.0, 500.0])])
def test_the_order_is_kept(order):
    np.testing.assert_array_equal(in_nm(order), order)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ({"x": NM, "Central_Wave": NM}, "Central_Wave"),
        ({"bands": NM, "lambda": NM}, "lambda"),
        ({"bands": NM, "hsi.info.wavelength": NM}, "hsi.info.wavelength"),
        ({"bands": NM}, "bands"),
        ({"bands": NM - 400}, None),
        ({"wavelength": NM[:2]}, None),
        ({"wavelength": NM * 0}, None),
        ({"wavelength": NM * np.nan}, None),
        ({"wavelength": NM > 0}, None),
        ({"wavenumber": NM}, None),
        ({"good_wavelengths": np.array([0.0, 1, 2])}, None),
        ({"x": NM}, None),
    ],
)
def test_which_vector_holds_them(vectors, expected):
    found = find_wavelengths(vectors, (3, 7))
    assert (found and found[0]) == expected


names = st.sampled_from(
    ["band", "bands", "wavelength", "Wavelengths", "wl", "lambda", "nm", "a/wave_nm", "s.wavelength_nm"]
)


@given(
    name=names,
    count=st.integers(1, 3000),
    start=st.sampled_from([0, 1]),
    kind=st.sampled_from(["i2", "u4", "f4", "f8"]),
    units=st.sampled_from([None, "", "unknown"]),
    turned=st.booleans(),
)
def test_the_numbers_of_the_bands_are_never_wavelengths(name, count, start, kind, units, turned):
    numbers = np.arange(start, start + count).astype(kind)[:: -1 if turned else 1]
    assert find_wavelengths({name: numbers}, [count], units={name: units} if units else {}) is None


def test_the_numbers_of_the_bands_as_rounded_floats():
    assert find_wavelengths({"wavelength": np.arange(1, 32) + 1e-6}, [31]) is None


def test_consecutive_integers_of_an_uncertain_name_are_told(caplog):
    assert centres(range(400, 431), name="band") is None
    assert "consecutive integers may be the numbers of bands; set the unit" in caplog.text


@given(name=names, count=st.integers(2, 3000), units=st.sampled_from(["nm", "um", "Micrometers"]))
def test_not_even_with_a_unit(name, count, units):
    assert find_wavelengths({name: np.arange(1, count + 1)}, [count], units={name: units}) is None


@given(name=names, count=st.integers(1, 300), first=st.floats(100.5, 2000), step=st.floats(0.5, 30), um=st.booleans())
def test_wavelengths_are_found_under_any_name(name, count, first, step, um):
    nm = first + step * np.arange(count) + 0.25
    found = find_wavelengths({name: nm / 1000 if um else nm}, [count], units={name: "um" if um else "nm"})
    np.testing.assert_allclose(found[1], nm)


@pytest.mark.parametrize(
    "numbers", [[8, 9, 57, 77], [3, 5, 8], [108, 109, 120], range(8, 225), [1, 2, 4], range(300, 331), range(2, 40)]
)
def test_numbers_of_selected_bands_are_no_wavelengths(numbers):
    assert find_wavelengths({"bands": np.array(numbers)}, [len(numbers)]) is None


@pytest.mark.parametrize(
    ("numbers", "units"),
    [
        ([0.45, 0.55], "nm"),
        ([450, 550], "m"),
        ([450, 450], None),
        ([450, np.nan], "nm"),
        ([450, 0], "nm"),
        ([3, 9], None),
    ],
)
def test_values_that_cannot_be_wavelengths_are_told(numbers, units, caplog):
    assert centres(numbers, units, name="wavelength") is None
    assert "'wavelength' is not read as wavelengths: " in caplog.text


def test_whole_numbers_of_a_laboratory_spectrometer_are_wavelengths():
    nm = np.arange(350, 2501)
    np.testing.assert_array_equal(find_wavelengths({"wavelength": nm}, [nm.size])[1], nm)
    np.testing.assert_array_equal(centres([8, 9, 10, 11], "um"), [8000, 9000, 10000, 11000])


@pytest.mark.parametrize(
    "name", ["good_wavelengths", "fwhm_wavelength", "wavelength_width", "wavelength_min", "wavelengthMax", "wave_flag"]
)
def test_other_facts_of_the_wavelengths_are_no_centres(name):
    assert not may_be_wavelengths(name)
    assert find_wavelengths({name: NM}, [3]) is None


@pytest.mark.parametrize("name", ["nominal_wavelength", "CenterWavelengths", "a/b/wavelengths", "wavelength_nm"])
def test_names_of_centres(name):
    assert may_be_wavelengths(name)


def test_flags_of_good_bands_give_the_bad_ones():
    flags = np.array([1.0, 1, 0, 1])
    assert find_bad_bands({"x": flags, "sensor/good_wavelengths": flags}, 4) == [3]
    assert find_bad_bands({"bbl": flags[None]}, 4) == [3]
    assert find_bad_bands({"bbl": flags}, 5) is None
    assert find_bad_bands({"bbl": flags * 7}, 4) is None
