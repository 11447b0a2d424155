import numpy as np
import pytest

from hsipipe.errors import FileFormatError
from hsipipe.formats.wavelengths import find_wavelengths, from_texts, in_nm

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


def test_a_unit_that_is_no_length():
    with pytest.raises(FileFormatError, match="'nu' is in 'cm-1', expected nm, um or m; convert it and set its units"):
        in_nm(NM, "cm-1", name="nu")


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


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Band 1 (450 nm)", "Band 2 (500.0 nm)", "Band 3 (5.5e2 nm)"], NM),
        (["0.45 um", "0.5 Micrometers", ".55 µm"], NM),
        (["450", "500", "550"], NM),
        (["1", "2", "3"], None),
        (["red", "green", "blue"], None),
        (["450 nm", None, "550 nm"], None),
        ([], None),
    ],
)
def test_names_of_bands(texts, expected):
    found = from_texts(texts)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected)
