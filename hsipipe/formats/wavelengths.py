"""Find the wavelengths of a file and convert them to nm. Band numbers are never taken for wavelengths."""

import logging
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

logger = logging.getLogger(__name__)

_UNITS = {
    1.0: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    # Case-folding turns the micro sign into the Greek letter, so one spelling covers both.
    1e3: ("um", "μm", "micrometer", "micrometers", "micrometre", "micrometres", "micron", "microns"),
    1e6: ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    1e9: ("m", "meter", "meters", "metre", "metres"),
    0.1: ("angstrom", "angstroms", "å"),
}
_TO_NM = {unit: factor for factor, units in _UNITS.items() for unit in units}
_PER_CM = ("cm-1", "cm^-1", "cm**-1", "1/cm", "/cm", "wavenumber", "wavenumbers")
_NOT_SAID = ("", "unknown", "none", "n/a", "1")
_NAMES = ("wavelength_nm", "wavelengths_nm", "wavelength", "wavelengths", "wl", "wvl", "lambda", "nm", "bands", "band")
_OF_NUMBERS = ("band", "bands")
_GOOD = ("good_wavelengths", "good_wavelength", "good_bands", "good_band", "bbl")
# Parts of names such as "good_wavelengths", "fwhm_wavelength" and "wavelength_min".
_NO_CENTRES = re.compile(
    r"number|good|bad|valid|mask|flag|fwhm|width|count|index|unit|shift|uncert|error|bound|bnds|lower|upper|"
    r"(^|[_\W])(min|max|low|high|start|stop|begin|end|std|res|resolution|step|id|idx)($|[_\W])|(min|max)s?$"
)
_EXACT = 1e-4
"""Difference up to which a float is an integer."""
_SHORTEST_NM, _LONGEST_NM = 100.0, 100_000.0
"""Range of imaging sensors."""
_LEAST_PLAIN_NM = 200.0
"""Smallest integer without a unit that is a wavelength; band numbers are smaller."""
_LEAST_OF_NUMBERS_NM = 300.0
"""The same for a variable that more often holds the numbers of the bands."""


def in_nm(values: Any, units: str | None = None, *, name: str = "wavelength") -> NDArray[np.float64]:
    """Convert wavelengths to nm.

    Args:
        values: As stored.
        units: As stored, a length or a wavenumber per cm; None or "unknown" infers the unit from the magnitude.
            Imaging sensors cover 100 nm to 100 um, so numbers below 100 are um and numbers below 0.001 are m.
        name: Name of the wavelengths in messages.

    Returns:
        Wavelengths in nm, (C,).

    Raises:
        FileFormatError: The unit is neither a length nor a wavenumber.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    unit = _plain(units)
    if unit in _NOT_SAID:
        largest = float(np.nanmax(numbers, initial=0.0))
        return numbers * (1e9 if largest < 1e-3 else 1e3 if largest < 100 else 1.0)
    if unit in _PER_CM:
        with np.errstate(divide="ignore"):
            return np.asarray(1e7 / numbers)
    factors = {_TO_NM.get(word) for word in re.split(r"[\s()\[\]]+", unit) if word}  # "nanometers (nm)"
    factor = factors.pop() if len(factors) == 1 else None
    if factor is None:
        raise FileFormatError(
            f"{name!r} is in {units!r}, expected nm, um, m or wavenumbers in cm-1; convert it and set its units"
        )
    return numbers * factor


def centres(values: Any, units: str | None = None, *, name: str = "wavelength") -> NDArray[np.float64] | None:
    """Convert the centre wavelengths of a file to nm, (C,); None if the numbers cannot be wavelengths.

    Band numbers (0, 1, 2, ... or 1, 2, 3, ..., as integers or floats, with a unit or without) and values outside of
    100 nm to 100 um are no wavelengths. A warning says so, except for small numbers under a name of band numbers.

    Args:
        values: As stored.
        units: As stored, or None.
        name: Name or path of the variable or field.

    Raises:
        FileFormatError: The unit is neither a length nor a wavenumber.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    of_numbers = _last(name) in _OF_NUMBERS
    unit_is_known = _plain(units) not in _NOT_SAID
    try:
        nm = in_nm(numbers, units, name=name)
    except FileFormatError:
        if of_numbers:
            return None
        raise
    doubt = _doubt(numbers, nm, of_numbers=of_numbers, unit_is_known=unit_is_known)
    if not doubt:
        return nm
    if not of_numbers or numbers.min(initial=np.inf) >= _LEAST_OF_NUMBERS_NM:
        logger.warning("%r is not read as wavelengths: %s", name, doubt)
    return None


def is_numbering(values: Any) -> bool:
    """Return True for the numbers 0 to N - 1 or 1 to N in any order, which count the bands."""
    numbers = np.sort(np.asarray(values, dtype=np.float64).ravel())
    first = np.round(numbers[:1])
    return bool(
        first.size and first[0] in (0, 1) and np.allclose(numbers, first + np.arange(numbers.size), rtol=0, atol=_EXACT)
    )


def may_be_wavelengths(name: str) -> bool:
    """Return True if a variable of this name (or path) may hold centre wavelengths."""
    last = _last(name)
    return last in _NAMES or ("wave" in last and not _NO_CENTRES.search(last))


def find_wavelengths(
    vectors: Mapping[str, NDArray[Any]], lengths: Collection[int], *, units: Mapping[str, str] | None = None
) -> tuple[str, NDArray[np.float64]] | None:
    """Find the vector of wavelengths: its name and its values in nm.

    Args:
        vectors: Vectors of the file by name.
        lengths: Lengths that the vector may have.
        units: Units of the vectors that have them.

    Raises:
        FileFormatError: The unit of the wavelengths is neither a length nor a wavenumber.
    """
    for name in sorted((n for n in vectors if may_be_wavelengths(n)), key=_rank):
        values = np.asarray(vectors[name]).ravel()
        if values.dtype.kind not in "iuf" or values.size not in lengths:
            continue
        nm = centres(values, (units or {}).get(name), name=name)
        if nm is not None:
            return name, nm
    return None


def find_bad_bands(vectors: Mapping[str, Any], count: int) -> list[int] | None:
    """Find the bad bands, counted from 1, by a vector such as EMIT's ``good_wavelengths`` that is 0 for each.

    Args:
        vectors: NumPy or Dask arrays of the file by name.
        count: Number of bands.
    """
    for name, values in vectors.items():
        if _last(name) not in _GOOD or np.shape(values) not in ((count,), (count, 1), (1, count)):
            continue
        flags = np.asarray(values).ravel()
        if flags.dtype.kind in "iufb" and set(flags.tolist()) <= {0, 1}:
            return bad_bands(flags)
    return None


def bad_bands(good: Any) -> list[int]:
    """List the bands, counted from 1, whose flag is 0."""
    return [int(band) + 1 for band in np.flatnonzero(np.asarray(good) == 0)]


def _doubt(numbers: NDArray[np.float64], nm: NDArray[np.float64], *, of_numbers: bool, unit_is_known: bool) -> str:
    """Return the reason why numbers are no wavelengths, or an empty text."""
    if not np.isfinite(nm).all() or not nm.size:
        return "not all of them are finite"
    whole = bool((np.abs(numbers - np.round(numbers)) <= _EXACT).all())
    if is_numbering(numbers) and not (nm.size == 1 and unit_is_known):
        return f"{numbers[0]:g} to {numbers[-1]:g} are the numbers of the bands"
    if nm.size > 1 and (numbers == numbers[0]).all():
        return f"all are {numbers[0]:g}"
    if nm.min() < _SHORTEST_NM or nm.max() > _LONGEST_NM:
        return f"{nm.min():g} to {nm.max():g} nm are outside of {_SHORTEST_NM:g} nm to 100 um; check the unit"
    if unit_is_known or not whole:
        return ""
    if numbers.max() < 100 or nm.min() < (_LEAST_OF_NUMBERS_NM if of_numbers else _LEAST_PLAIN_NM):
        return f"integers from {numbers.min():g} on may be the numbers of bands; set the unit"
    if of_numbers and nm.size > 1 and (np.diff(numbers) == 1).all():
        return "consecutive integers may be the numbers of bands; set the unit"
    return ""


def _plain(units: str | None) -> str:
    return (units or "").replace("\ufffd", "µ").strip(" \t\r\n\"'{}[]()").casefold()


def _last(name: str) -> str:
    return re.split(r"[./]", name)[-1].lower()


def _rank(name: str) -> tuple[float, str]:
    last = _last(name)
    # Names such as "wave_nm" rank before "bands", the least certain.
    return (float(_NAMES.index(last)) if last in _NAMES else len(_NAMES) - 2.5), name
