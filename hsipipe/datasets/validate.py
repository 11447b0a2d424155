"""Validation of a cube before it is published."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.bands import band_label
from hsipipe.errors import DataError
from hsipipe.formats.base import DIMS
from hsipipe.storage.stores import rows_per_chunk

_LEAST_VALID = 0.01
"""Share of the pixels that must have data."""


def validate_cube(
    cube: xr.DataArray, *, name: str, bands: int | None = None, skip: Collection[int] = (), drop: str | None = None
) -> float:
    """Check a scene: dims, number of bands, infinite values, bands without data, dead (constant) bands.

    NaN means no data. A pixel that lacks one band has no data.

    Args:
        cube: (band, y, x); read in strips, so that a lazy cube need not fit in memory.
        name: Name of the scene in messages.
        bands: Expected number of bands.
        skip: Bands to ignore, counted from 1.
        drop: Parameter in params.yaml that drops bands, for messages; None if there is none.

    Returns:
        Share of the pixels without data, 0 to 0.99.

    Raises:
        DataError: A check fails; the message gives the scene, the first bad band (counted from 1) and its wavelength.
    """
    if cube.dims != DIMS or 0 in cube.shape:
        raise DataError(
            f"Scene {name!r} has dims {tuple(map(str, cube.dims))} of sizes {cube.shape}, expected {DIMS}, none empty."
        )
    if bands is not None and cube.sizes["band"] != bands:
        raise DataError(
            f"Scene {name!r} has {cube.sizes['band']} bands, expected {bands}. Check that it belongs to this data set "
            "and that its axes are (band, y, x)."
        )
    wanted = ~np.isin(np.arange(1, cube.sizes["band"] + 1), list(skip))
    found = _survey(cube, wanted)
    bad = (found.infinite > 0) & wanted
    if bad.any():
        band = int(np.argmax(bad))
        raise DataError(
            f"Scene {name!r}: {_band(cube, band)} holds {found.infinite[band]} infinite values{_others(bad)}. Make "
            f"them NaN (no data){_dropping(drop, bad, skip)} or remove the scene."
        )
    _check_no_data(cube, found, wanted, name=name, skip=skip, drop=drop)
    dead = (found.low == found.high) & wanted
    if dead.any():
        band = int(np.argmax(dead))
        advice = _dropping(drop, dead, skip).removeprefix(", ") or "Remove the band from every scene"
        raise DataError(
            f"Scene {name!r}: {_band(cube, band)} is dead, every pixel is {found.low[band]:g}"
            f"{_others(dead)}. {advice[0].upper()}{advice[1:]} or remove the scene."
        )
    return 1 - found.valid / (cube.sizes["y"] * cube.sizes["x"])


def _check_no_data(
    cube: xr.DataArray,
    found: "_Survey",
    wanted: NDArray[np.bool_],
    *,
    name: str,
    skip: Collection[int],
    drop: str | None,
) -> None:
    """Raise DataError if a wanted band, or nearly the whole scene, has no data."""
    pixels = cube.sizes["y"] * cube.sizes["x"]
    if found.valid >= _LEAST_VALID * pixels:
        return
    missing = np.where(wanted, found.missing, 0)
    worst = missing >= missing.max()
    band = int(np.argmax(worst))
    raise DataError(
        f"Scene {name!r}: only {found.valid} of {pixels} pixels have data in every band, expected at least "
        f"{_LEAST_VALID:.0%}; {_band(cube, band)} has none in {missing[band]}{_others(worst)}. Check the fill value"
        f"{_dropping(drop, worst, skip)} or remove the scene."
    )


@dataclass
class _Survey:
    """Infinite and missing values of each band, its extremes, and the number of valid pixels."""

    infinite: NDArray[np.int64]
    missing: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    valid: int = 0


def _survey(cube: xr.DataArray, wanted: NDArray[np.bool_]) -> _Survey:
    count, height, width = cube.shape
    none = np.zeros(count, dtype=np.int64)
    found = _Survey(none, none.copy(), np.full(count, np.inf), np.full(count, -np.inf))
    step = rows_per_chunk(cube.shape)
    for start in range(0, height, step):
        strip = cube[:, start : start + step].values
        low, high = strip.min(axis=(1, 2)), strip.max(axis=(1, 2))
        if np.isfinite(low).all() and np.isfinite(high).all():  # NaN and infinity reach the extremes
            found.valid += strip.shape[1] * width
        else:
            missing = np.isnan(strip)
            found.missing += missing.sum(axis=(1, 2))
            found.infinite += np.isinf(strip).sum(axis=(1, 2))
            found.valid += int((~missing[wanted].any(axis=0)).sum())
            low, high = (extreme.reduce(strip, axis=(1, 2)) for extreme in (np.fmin, np.fmax))
        found.low = np.fmin(found.low, low)
        found.high = np.fmax(found.high, high)
    return found


def _band(cube: xr.DataArray, index: int) -> str:
    nm = cube["wavelength_nm"].values if "wavelength_nm" in cube.coords else None
    return f"{band_label(index, nm)} of {cube.sizes['band']}"


def _others(bad: NDArray[np.bool_]) -> str:
    count = int(bad.sum()) - 1
    return f"; same problem in {count} more bands" if count else ""


def _dropping(drop: str | None, bad: NDArray[np.bool_], skip: Collection[int]) -> str:
    """Return the advice ``", set <drop> to [3, 7]"``, including the bands dropped already."""
    if drop is None:
        return ""
    return f", set {drop} to {sorted({*skip, *(np.flatnonzero(bad) + 1).tolist()})} (counted from 1)"
