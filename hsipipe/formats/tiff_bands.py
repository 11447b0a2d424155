"""Read wavelengths and widths from the tags of a GeoTIFF, wherever programs put them."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_texts import from_texts
from hsipipe.formats.wavelengths import centres, in_nm

logger = logging.getLogger(__name__)

_NAMES = ("wavelength_nm", "wavelength", "wavelengths", "center_wavelength", "central_wavelength", "centre_wavelength")
_UNITS = ("wavelength_units", "wavelength_unit")
Facts = tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]
"""Centre wavelengths and widths of the bands in nm, (C,) each, where they are known."""


def facts_of_bands(raster: Any, bands: Sequence[int]) -> Facts:
    """Read the tags and the names of the bands, counted from 1."""
    tags = [_lower(raster.tags(band)) for band in bands]
    stated = [next((own[name] for name in _NAMES if name in own), None) for own in tags]
    if None in stated:
        imagery = [_lower(raster.tags(band, ns="IMAGERY")) for band in bands]
        nm = _centres([own.get("central_wavelength_um") for own in imagery], ["um"] * len(bands))
        widths = _widths([own.get("fwhm_um") for own in imagery], ["um"] * len(bands)) if nm is not None else None
        return (nm, widths) if nm is not None else (from_texts([raster.descriptions[band - 1] for band in bands]), None)
    units = ["nm" if "wavelength_nm" in own else _first(own, _UNITS) for own in tags]
    nm = _centres(stated, units)
    if nm is None:
        return from_texts([raster.descriptions[band - 1] for band in bands]), None
    return nm, _widths(
        [own.get("fwhm") for own in tags], [own.get("fwhm_units") or u for own, u in zip(tags, units, strict=True)]
    )


def facts_of_file(tags: Mapping[str, str], bands: Sequence[int]) -> Facts:
    """Read the tags of the file: lists, or one text for each band, counted from 1."""
    lower = _lower(tags)
    units = _first(lower, _UNITS)
    for name in _NAMES:
        nm = _centres(_list(lower.get(name, "")), [units] * len(bands)) if name in lower else None
        if nm is not None and nm.size == len(bands):
            widths = _list(lower.get("fwhm", ""))
            return nm, _widths(widths, [units] * len(bands)) if len(widths) == len(bands) else None
    return from_texts([lower.get(f"band_{band}") for band in bands]), None


def _centres(stated: Sequence[str | None], units: Sequence[str | None]) -> NDArray[np.float64] | None:
    numbers = [_as_number(value) for value in stated]
    if None in numbers or len(numbers) != len(units):
        return from_texts(list(stated))
    try:
        if len(set(units)) == 1:
            # The magnitude without a unit is judged over all bands together.
            return centres(numbers, units[0])
        return centres([in_nm([number], unit)[0] for number, unit in zip(numbers, units, strict=True)], "nm")
    except FileFormatError as error:
        logger.warning("the tags of the wavelengths are ignored: %s", error)
        return None


def _widths(stated: Sequence[str | None], units: Sequence[str | None]) -> NDArray[np.float64] | None:
    numbers = [_as_number(value) for value in stated]
    if None in numbers or not all(units):
        return None
    try:
        widths = np.array([in_nm([number], unit)[0] for number, unit in zip(numbers, units, strict=True)])
    except FileFormatError:
        return None
    return widths if np.isfinite(widths).all() and widths.min() > 0 else None


def _lower(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in tags.items()}


def _first(tags: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((tags[name] for name in names if name in tags), None)


def _list(text: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", text.strip("{}[]() ")) if word]


def _as_number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
