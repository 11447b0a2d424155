"""Read the scene to sharpen: usable bands, pixels with data, and the range of the values."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.bands import band_label
from hsipipe.errors import DataError
from hsipipe.formats.band_facts import BAD_BANDS, GOOD_BAND
from hsipipe.full_scale import BRIGHT, likely_full_scale
from hsipipe.inference.holes import Mask, fill_holes
from hsipipe.inference.plan import Box

MOST_VALUES = 48 << 20
"""Values of the part of a scene that is fitted on, 200 MB; the scene itself may have any size."""
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene to sharpen.

    Attributes:
        cube: Its usable bands (band, y, x), lazy as it was opened; values that are not finite are NaN.
        window: The part that is fitted on, multiples of the scale.
        values: Values of the window (C, h, w), where 1.0 is the full range; a pixel without data has the spectrum of
            the nearest one with data.
        valid: Pixels of the window with data (h, w).
        full_scale: Value of the cube that maps to 1.0.
        dropped: Labels of the bands that are bad or constant.
        wavelength_nm: Band centres (C,) in nm; None: unknown.
    """

    cube: xr.DataArray
    window: Box
    values: Image
    valid: Mask
    full_scale: float
    dropped: tuple[str, ...]
    wavelength_nm: NDArray[np.float64] | None


def read_scene(cube: xr.DataArray, name: object, *, scale: int, full_scale: float | None) -> Scene:
    """Read the part of a cube that is fitted on, without bad and constant bands.

    Args:
        cube: Cube (band, y, x) as opened.
        name: Source of the cube in messages.
        scale: Ratio of the pixel sizes s.
        full_scale: Value that maps to 1.0; None: as the file says, or a likely one by the largest value.

    Raises:
        DataError: No band is usable, no pixel has data, or the range of the values is not known.
    """
    cube = _finite(cube)
    window = window_of(*cube.shape, scale=scale)
    stored = cube[window.slices()].to_numpy()
    usable = _usable(cube, stored)
    if not usable.any():
        raise DataError(f"{name} has no usable band: all are bad, constant or without data.")
    centres = cube["wavelength_nm"].to_numpy() if "wavelength_nm" in cube.coords else None
    dropped = tuple(band_label(int(band), centres) for band in np.flatnonzero(~usable))
    kept = cube
    if not usable.all():
        kept, stored = cube.isel(band=np.flatnonzero(usable)), stored[usable]
        # The numbers of the attribute count the bands of the file.
        kept.attrs = {key: value for key, value in kept.attrs.items() if key != BAD_BANDS}
    range_top = full_scale or _full_scale(kept, stored, name)
    values = np.ascontiguousarray(stored / np.float32(range_top), dtype=np.float32)
    filled, holes = fill_holes(values, name)
    valid = np.ones(values.shape[1:], dtype=bool) if holes is None else ~holes
    known = None if centres is None else np.asarray(centres, dtype=np.float64)[usable]
    return Scene(kept, window, filled, valid, range_top, dropped, known)


def window_of(bands: int, height: int, width: int, *, scale: int) -> Box:
    """Return the part of a scene that is fitted on: its middle, at most `MOST_VALUES`, in multiples of the scale."""
    edge = max(scale, math.isqrt(MOST_VALUES // bands))
    if bands * height * width <= MOST_VALUES:
        edge = max(height, width)
    spans = []
    for size in (height, width):
        length = min(size, edge) // scale * scale
        start = (size - length) // 2 // scale * scale
        spans += [start, start + length]
    return Box(*spans)


def _finite(cube: xr.DataArray) -> xr.DataArray:
    """Return a cube whose values that are not finite are NaN, no data; a lazy one stays lazy."""
    if cube.chunks is None and not np.isinf(cube.to_numpy()).any():
        return cube
    finite = cube.where(np.isfinite(cube))
    finite.encoding = cube.encoding
    return finite


def _usable(cube: xr.DataArray, values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the bands (C,) that are not bad and whose values vary."""
    good = np.asarray(cube[GOOD_BAND].to_numpy(), dtype=bool) if GOOD_BAND in cube.coords else True
    finite = np.isfinite(values)
    low = np.min(values, axis=(1, 2), initial=np.inf, where=finite)
    high = np.max(values, axis=(1, 2), initial=-np.inf, where=finite)
    return np.asarray((high > low) & good)


def _full_scale(cube: xr.DataArray, values: NDArray[np.floating], name: object) -> float:
    said = cube.attrs.get("reflectance_scale_factor")
    if isinstance(said, int | float) and said > 0:
        return float(said)
    largest = float(np.max(values, initial=0.0, where=np.isfinite(values)))
    bright = np.count_nonzero(values > BRIGHT) / np.count_nonzero(np.isfinite(values))
    likely = likely_full_scale(largest, bright=bright)
    if likely is None or largest <= 0:
        raise DataError(f"{name} has values up to {largest:g}, whose range is unknown; set it with --full-scale.")
    return float(likely)
