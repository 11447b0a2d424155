"""Choose bands for red, green and blue, and stretch them for display."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISPLAY_NM = (650.0, 550.0, 450.0)
INFRARED_NM = (860.0, 650.0, 550.0)
SHORTWAVE_NM = (2200.0, 1650.0, 860.0)
GAMMA = 1 / 2.2
PERCENTILES = (1.0, 99.0)
"""Percentiles of a band that are shown as black and white; outliers do not set the contrast."""
_REACH_NM = 40.0
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Colours:
    """A way to colour a cube.

    Attributes:
        title: Name of the colours, with the wavelengths or bands.
        targets_nm: Wavelengths of red, green and blue; None: bands spread evenly.
    """

    title: str
    targets_nm: tuple[float, float, float] | None


TRUE_COLOURS = Colours("true colour (650, 550, 450 nm)", DISPLAY_NM)
SPREAD = Colours("false colour (bands spread evenly)", None)
_OTHERS = (
    Colours("infrared (860, 650, 550 nm)", INFRARED_NM),
    Colours("short-wave infrared (2200, 1650, 860 nm)", SHORTWAVE_NM),
)


def ways(count: int, wavelength_nm: Array | None, bad: Sequence[int] = ()) -> list[Colours]:
    """List the ways to colour a cube of `count` bands, the most natural first; bad bands are not used."""
    found = [way for way in (TRUE_COLOURS, *_OTHERS) if bands_near(way.targets_nm, wavelength_nm, bad) is not None]
    return found if found and found[0] is TRUE_COLOURS else [SPREAD, *found]


def bands_of(way: Colours, count: int, wavelength_nm: Array | None, bad: Sequence[int] = ()) -> list[int]:
    """Return the bands (3,) for red, green and blue, counted from 0."""
    return bands_near(way.targets_nm, wavelength_nm, bad) or spread_bands(count, wavelength_nm, bad)


def bands_near(
    targets_nm: tuple[float, float, float] | None, wavelength_nm: Array | None, bad: Sequence[int] = ()
) -> list[int] | None:
    """Return the good bands nearest to three wavelengths; None if one is further than 40 nm, or two are the same."""
    if targets_nm is None or wavelength_nm is None:
        return None
    distance = np.abs(np.asarray(wavelength_nm, np.float64)[:, None] - np.asarray(targets_nm))
    distance[list(bad)] = np.inf
    distance[~np.isfinite(distance)] = np.inf
    nearest = distance.argmin(axis=0)
    if distance[nearest, range(3)].max() > _REACH_NM or len(set(nearest.tolist())) < 3:
        return None
    return [int(band) for band in nearest]


def spread_bands(count: int, wavelength_nm: Array | None, bad: Sequence[int] = ()) -> list[int]:
    """Return three good bands at even distances, the longest wavelength first."""
    good = [band for band in range(count) if band not in set(bad)] or list(range(count))
    if wavelength_nm is not None and np.isfinite(wavelength_nm).all():
        good.sort(key=lambda band: float(wavelength_nm[band]))
    # Half up: four bands then give three different ones.
    return [good[int((len(good) - 1) * part + 0.5)] for part in (5 / 6, 3 / 6, 1 / 6)]


def limits(way: Colours, planes: Array) -> list[tuple[float, float]]:
    """Return black and white point of each plane (3, h, w), from its finite values.

    True colours have the same for all three: planes that are stretched one by one change the colours. Others have no
    natural colours, and the most contrast one by one.
    """
    found = _percentiles(planes)
    if way != TRUE_COLOURS:
        return found
    return [(min(low for low, _ in found), max(high for _, high in found))] * len(found)


def _percentiles(planes: Array) -> list[tuple[float, float]]:
    found = []
    for plane in planes:
        known = plane[np.isfinite(plane)]
        low, high = (float(value) for value in np.percentile(known, PERCENTILES)) if known.size else (0.0, 1.0)
        found.append((low, high) if high > low else (low, low + (abs(low) or 1.0)))
    return found


def to_image(planes: Array, stretch: Sequence[tuple[float, float]]) -> NDArray[np.uint8]:
    """Convert three planes (3, h, w) to an image (h, w, 3) with a display gamma of 2.2; without a value: mid grey."""
    image = np.empty((*planes.shape[1:], 3), np.uint8)
    for channel, (plane, (low, high)) in enumerate(zip(planes, stretch, strict=True)):
        unit = np.clip((np.nan_to_num(plane.astype(np.float64), nan=low) - low) / (high - low), 0, 1)
        image[..., channel] = np.round(255 * unit**GAMMA)
    image[~np.isfinite(planes).all(axis=0)] = 128
    return image
