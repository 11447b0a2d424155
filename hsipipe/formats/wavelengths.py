"""Find the wavelengths of a file and convert them to nm."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

_UNITS = {
    1.0: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    # Case-folding turns the micro sign into the Greek letter, so one spelling covers both.
    1e3: ("um", "μm", "micrometer", "micrometers", "micrometre", "micrometres", "micron", "microns"),
    1e6: ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    1e9: ("m", "meter", "meters", "metre", "metres"),
    0.1: ("angstrom", "angstroms", "å"),
}
_TO_NM = {unit: factor for factor, units in _UNITS.items() for unit in units}
_NOT_SAID = ("", "unknown", "none", "n/a", "1")
_NAMES = ("wavelength_nm", "wavelengths_nm", "wavelength", "wavelengths", "wl", "wvl", "lambda", "nm", "bands", "band")
# Range of wavelengths of reflectance and emission; band numbers are smaller.
_SHORTEST_NM, _LONGEST_NM = 300.0, 100_000.0
_NUMBER = r"(?<![\d.])((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_IN_TEXT = re.compile(_NUMBER + r"\s*(nm|nano\w+|[uµμ]m|micro\w+)\b", re.IGNORECASE)


def in_nm(values: Any, units: str | None = None, *, name: str = "wavelength") -> NDArray[np.float64]:
    """Convert wavelengths to nm.

    Args:
        values: As stored.
        units: As stored; None or "unknown" infers the unit from the magnitude. Imaging sensors cover 100 nm to
            100 um, so numbers below 100 are um and numbers below 0.001 are m.
        name: Name of the wavelengths in messages.

    Returns:
        Wavelengths in nm, (C,).

    Raises:
        FileFormatError: The unit is not a length.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    unit = (units or "").strip().casefold()
    if unit in _NOT_SAID:
        largest = float(np.nanmax(numbers, initial=0.0))
        return numbers * (1e9 if largest < 1e-3 else 1e3 if largest < 100 else 1.0)
    if unit not in _TO_NM:
        raise FileFormatError(f"{name!r} is in {units!r}, expected nm, um or m; convert it and set its units")
    return numbers * _TO_NM[unit]


def may_be_wavelengths(name: str) -> bool:
    """Return True if a variable of this name (or path) may hold wavelengths."""
    last = re.split(r"[./]", name)[-1].lower()
    return last in _NAMES or ("wave" in last and "number" not in last)


def find_wavelengths(
    vectors: Mapping[str, NDArray[Any]], lengths: Collection[int], *, units: Mapping[str, str] | None = None
) -> tuple[str, NDArray[np.float64]] | None:
    """Find the vector of wavelengths: its name and its values in nm.

    Args:
        vectors: Vectors of the file by name.
        lengths: Lengths that the vector may have.
        units: Units of the vectors that have them.

    Raises:
        FileFormatError: The unit of the wavelengths is not a length.
    """
    for name in sorted((n for n in vectors if may_be_wavelengths(n)), key=_rank):
        values = np.asarray(vectors[name]).ravel()
        if values.dtype.kind not in "iuf" or values.size not in lengths:
            continue
        nm = in_nm(values, (units or {}).get(name), name=name)
        if np.isfinite(nm).all() and nm.min() > _lowest(name) and nm.max() < _LONGEST_NM:
            return name, nm
    return None


def from_texts(texts: Collection[str | None]) -> NDArray[np.float64] | None:
    """Parse wavelengths in nm from band names such as ``"Band 10 (497.2 nm)"``; None unless every name has one."""
    found = [_IN_TEXT.search(text or "") for text in texts]
    if texts and all(found):
        return np.array([float(in_nm([float(m[1])], "um" if m[2][0] in "uUµμmM" else "nm")[0]) for m in found if m])
    try:
        numbers = np.array([float(text or "nan") for text in texts])
    except ValueError:
        return None
    # A number without a unit is a wavelength only where it cannot be a band number.
    return numbers if numbers.size and numbers.min() >= _SHORTEST_NM else None


def _rank(name: str) -> tuple[float, str]:
    last = re.split(r"[./]", name)[-1].lower()
    # Names such as "wave_nm" rank before "bands", the least certain.
    return (float(_NAMES.index(last)) if last in _NAMES else len(_NAMES) - 2.5), name


def _lowest(name: str) -> float:
    # "bands" may also hold the numbers of the selected bands.
    last = re.split(r"[./]", name)[-1].lower()
    return _SHORTEST_NM if last in ("band", "bands") else 0.0
