"""How a band is called in every message and table."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from numpy.typing import NDArray


def band_label(index: int, wavelength_nm: Sequence[float] | NDArray[Any] | None = None) -> str:
    """``"band 3 (420 nm)"``: people count bands from 1, as the data sets' own documents do.

    Args:
        index: Position of the band, counted from 0.
        wavelength_nm: Centres of all the cube's bands in nm, (C,); None, or NaN at the band: unknown.
    """
    label = f"band {index + 1}"
    if wavelength_nm is None or len(wavelength_nm) <= index or not isfinite(wavelength_nm[index]):
        return label
    return f"{label} ({wavelength_nm[index]:g} nm)"
