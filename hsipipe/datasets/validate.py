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


def validate_cube(
    cube: xr.DataArray, *, name: str, bands: int | None = None, skip: Collection[int] = (), drop: str | None = None
) -> None:
    """Check a scene: dims, number of bands, NaN and infinite values, dead (constant) bands.

    Args:
        cube: (band, y, x); read in strips, so that a lazy cube need not fit in memory.
        name: Name of the scene in messages.
        bands: Expected number of bands.
        skip: Bands to ignore, counted from 1.
        drop: Parameter in params.yaml that drops bands, for messages; None if there is none.

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
    found = _survey(cube)
    wanted = ~np.isin(np.arange(1, cube.sizes["band"] + 1), list(skip))
    bad = (found.bad > 0) & wanted
    if bad.any():
        band = int(np.argmax(bad))
        raise DataError(
            f"Scene {name!r}: {_band(cube, band)} holds {found.bad[band]} NaN or infinite values"
            f"{_others(bad)}. Fill them{_dropping(drop, bad, skip)} or remove the scene."
        )
    dead = (found.low == found.high) & wanted
    if dead.any():
        band = int(np.argmax(dead))
        advice = _dropping(drop, dead, skip).removeprefix(", ") or "Remove the band from every scene"
        raise DataError(
            f"Scene {name!r}: {_band(cube, band)} is dead, every pixel is {found.low[band]:g}"
            f"{_others(dead)}. {advice[0].upper()}{advice[1:]} or remove the scene."
        )


@dataclass
class _Survey:
    bad: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _survey(cube: xr.DataArray) -> _Survey:
    count, height, _ = cube.shape
    found = _Survey(np.zeros(count, dtype=np.int64), np.full(count, np.inf), np.full(count, -np.inf))
    step = rows_per_chunk(cube.shape)
    for start in range(0, height, step):
        strip = cube[:, start : start + step].values
        low, high = strip.min(axis=(1, 2)), strip.max(axis=(1, 2))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):  # NaN and infinity reach the extremes
            found.bad += (~np.isfinite(strip)).sum(axis=(1, 2))
        found.low = np.minimum(found.low, low)
        found.high = np.maximum(found.high, high)
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
