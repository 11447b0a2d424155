"""Label bands in messages and tables."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from numpy.typing import NDArray


def band_label(index: int, wavelength_nm: Sequence[float] | NDArray[Any] | None = None) -> str:
    """Return a label such as ``"band 3 (420 nm)"``, counted from 1 as in the documents of the data sets.

    Args:
        index: Position of the band, counted from 0.
        wavelength_nm: Centre wavelengths of all bands in nm, (C,); None, or NaN at the band: unknown.

    Example:
        >>> band_label(2, [400.0, 410.0, 420.0])
        'band 3 (420 nm)'
    """
    label = f"band {index + 1}"
    if wavelength_nm is None or len(wavelength_nm) <= index or not isfinite(wavelength_nm[index]):
        return label
    return f"{label} ({wavelength_nm[index]:g} nm)"
