"""Centre wavelengths out of the names of bands."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsipipe.formats.band_texts import from_texts

NM = [450.0, 500.0, 550.0]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Band 1 (450 nm)", "Band 2 (500.0 nm)", "Band 3 (5.5e2 nm)"], NM),
        (["0.45 um", "0.5 Micrometers", ".55 µm"], NM),
        (["450. nm", "500.nm", "550 nanometres"], NM),
        (["450", "500", "550"], NM),
        (["B450nm", "S2_500nm_x", "2022-06-12 550 nm"], NM),
        (["0,45 µm", "0,5 µm", "0,55 \ufffdm"], NM),
        (["1", "2", "3"], None),
        (["1.0", "2.0", "3.0"], None),
        ([str(n) for n in range(401)], None),
        ([str(n) for n in range(300, 331)], None),
        (["0.1", "0.2", "0.3"], None),
        (["red", "green", "blue"], None),
        (["450 nm", None, "550 nm"], None),
        (["450 nm", "500 nm", "NDVI"], None),
        (["550 nm", "550 nm", "550 nm"], None),
        (["1,450 nm", "1,500 nm", "1,550 nm"], None),
        ([], None),
    ],
)
def test_names_of_bands(texts, expected):
    found = from_texts(texts)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "form",
    [
        "{name} 0.{a}-0.{b} µm",
        "{name} 0,{a} - 0,{b} um",
        "{name} ({a}\u2013{b} nm)",
        "{name}: {a} nm to {b} nm",
        "{name} between {a} and {b} nanometers",
        "{name} band {a}-{b} nm",
        "{name}_{a}..{b}nm",
        "{a}-{b} nm",
    ],
)
def test_a_range_gives_its_centre(form):
    bands = (("Blue", 450, 520), ("Green", 520, 600), ("Red", 630, 690))
    found = from_texts([form.format(name=name, a=a, b=b) for name, a, b in bands])
    np.testing.assert_allclose(found, [485, 560, 660])


@pytest.mark.parametrize(
    "form",
    [
        "FWHM 10 nm, centre {nm} nm",
        "FWHM 120 nm, centre {nm} nm",
        "{nm} nm, 120 nm wide",
        "{nm} nm (bandwidth: 120 nm)",
        "{nm} nm FWHM=120 nm",
        "{nm} nm, 120 nm FWHM",
        "{nm} ± 60 nm",
        "{nm} nm +/- 120 nm",
        "{nm}/10 nm",
        "{nm} nm (0.02 um)",
    ],
)
def test_a_width_is_not_a_centre(form):
    np.testing.assert_allclose(from_texts([form.format(nm=nm) for nm in (450, 650, 850)]), [450, 650, 850])


@pytest.mark.parametrize(
    "form", ["{} nm", "FWHM {}0 nm", "bandwidth {}0 nm", "{}0 nm wide", "0.0{} um", "width {}0 nm"]
)
def test_a_width_alone_gives_none(form):
    assert from_texts([form.format(width) for width in (12, 13, 14)]) is None


@pytest.mark.parametrize(
    "form", ["{n} - {nm} nm", "Band {n}-{nm} nm", "{n}: {nm} nm", "B{n:02d}-{nm}nm", "{n}/9 {nm} nm"]
)
def test_the_number_of_a_band_is_no_end_of_a_range(form):
    nm = [400 + 10 * n for n in range(1, 10)]
    np.testing.assert_allclose(from_texts([form.format(n=n, nm=value) for n, value in enumerate(nm, start=1)]), nm)


def test_numbers_of_bands_that_look_like_micrometres():
    texts = [f"Band {n} - {um} um" for n, um in ((1, 0.48), (2, 0.56), (3, 0.66), (7, 2.2))]
    np.testing.assert_allclose(from_texts(texts), [480, 560, 660, 2200])


@pytest.mark.parametrize(
    "texts", [["450 nm 550 nm"], ["450/520 nm"], ["8-9 um", "9-10 um"], ["green 560 nm, red 660 nm"]]
)
def test_two_readings_give_none(texts):
    assert from_texts(texts) is None


def test_a_range_that_agrees_with_the_centre_beside_it():
    np.testing.assert_allclose(from_texts(["490 nm (458-523 nm)", "665 nm (650-680 nm)"]), [490, 665])
    assert from_texts(["490 nm (758-823 nm)", "665 nm (650-680 nm)"]) is None


@given(st.lists(st.text(alphabet="0123456789.,-\u2013±/ nmuµFWHMband()=…", max_size=40), min_size=1, max_size=4))
def test_any_texts_give_wavelengths_of_imaging_sensors_or_none(texts):
    found = from_texts(texts)
    assert found is None or (len(found) == len(texts) and ((found >= 100) & (found <= 100_000)).all())


def test_a_long_text_takes_no_time():
    start = time.process_time()
    for text in ("9" * 10**6, " " * 10**6 + "nm", "1 -" * 10**5, "450 nm " * 10**5):
        assert from_texts([text, text]) is None
    assert time.process_time() - start < 1
