"""Check the cubes that are compared; each error says what was got, what was expected, and how to fix it."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import is_dask_collection
from numpy.typing import NDArray

from hsipipe.artifacts.views import Cube, Masked
from hsipipe.bands import band_label
from hsipipe.errors import DataError
from hsipipe.evaluation.windows import Lazy, windows
from hsipipe.full_scale import FAINT, PLAUSIBLE, likely_full_scale
from hsipipe.storage.stored_cube import StoredCube

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.floating[Any]]

_FAR = 50.0
"""Ratio of the values of a prediction and its truth from which their units differ."""
_MOST_SAMPLED = 1 << 20
"""Number of values from which a quantile is estimated."""
SSIM_WINDOW = 7
"""Edge in pixels of the window of skimage's structural_similarity with its defaults."""


def as_cube(cube: "Cube | xr.DataArray", role: str) -> Cube:
    """Return the values of a cube as (band, y, x), checked; they stay in their file if the cube is lazy.

    Args:
        cube: Array (band, y, x), or a DataArray with the dimensions band, y and x in any order.
        role: Name of the cube in messages: "sr", "hr", "lr".

    Raises:
        DataError: Wrong rank, not floating point, or NaN or Inf in a band; the message names the band.
    """
    labelled: Any = cube
    dims = tuple(str(dim) for dim in getattr(cube, "dims", ()))
    if set(dims) == {"band", "y", "x"}:
        labelled = labelled.transpose("band", "y", "x")
    elif dims:
        raise DataError(f"{role} has dimensions {dims}, expected (band, y, x); rename or transpose them.")
    values: Cube = _by_parts(labelled)
    if len(values.shape) != 3:
        raise DataError(
            f"{role} has shape {values.shape}, expected three dimensions (band, y, x); score one scene at a time."
        )
    kind = values[:, :1, :1].dtype
    if not np.issubdtype(kind, np.floating):
        raise DataError(
            f"{role} holds {kind} values, expected floating point with 1.0 as the full range; "
            "divide it by the data set's scale."
        )
    _check_finite(values, role, band_wavelengths(cube))
    return values


def _by_parts(cube: Any) -> Cube:
    """Return an array of NumPy, or one that is read by parts."""
    data = getattr(cube, "data", cube) if hasattr(cube, "dims") else cube
    if is_dask_collection(data):
        return Lazy(data)
    return data if isinstance(data, StoredCube | Masked) else np.asarray(data)


def band_wavelengths(cube: Any) -> NDArray[np.float64] | None:
    """``wavelength_nm`` of a DataArray; None if it has none."""
    coords = getattr(cube, "coords", {})
    return np.asarray(coords["wavelength_nm"], dtype=np.float64) if "wavelength_nm" in coords else None


def check_range(hr: Cube, others: Mapping[str, Cube]) -> None:
    """Raise DataError unless all cubes have 1.0 as the full range, the peak of PSNR and SSIM.

    Args:
        hr: Ground truth.
        others: The other cubes by their role.
    """
    high = _high(hr)
    if high > PLAUSIBLE or 0 < high < FAINT:
        likely = likely_full_scale(high) if high > PLAUSIBLE else None
        example = "" if likely is None else f", for example {likely}"
        raise DataError(
            f"hr has values up to {high:g}, expected 1.0 as the full range, the peak of PSNR and SSIM; "
            f"divide {', '.join(['hr', *others])} by the value that means 1.0{example}."
        )
    for role, cube in others.items():
        if (its := _high(cube)) > _FAR * max(high, FAINT):
            raise DataError(
                f"{role} has values up to {its:g} and hr up to {high:g}, expected both in the same units with 1.0 as "
                f"the full range; divide {role} by its scale."
            )


def check_pair(sr: Cube, hr: Cube, scale: int) -> None:
    """Raise DataError unless `sr` can be scored against `hr` at this scale."""
    if sr.shape != hr.shape:
        raise DataError(
            f"sr has shape {sr.shape}, hr has {hr.shape}: (band, y, x) must be equal; "
            "crop both to the same region and keep all bands."
        )
    height, width = hr.shape[1:]
    if height % scale or width % scale:
        raise DataError(
            f"hr has {height} x {width} pixels, which scale {scale} does not divide; "
            f"crop it to {height - height % scale} x {width - width % scale}."
        )
    if min(height, width) < SSIM_WINDOW:
        raise DataError(
            f"hr has {height} x {width} pixels, expected at least {SSIM_WINDOW} x {SSIM_WINDOW}, "
            "the window of SSIM; score a larger region."
        )
    if not hr.shape[0]:
        raise DataError("sr and hr have no band, expected at least one.")


def check_lr(lr: Cube, hr: Cube, scale: int) -> None:
    """Raise DataError unless `lr` has the grid of `hr` at this scale."""
    expected = (hr.shape[0], hr.shape[1] // scale, hr.shape[2] // scale)
    if lr.shape != expected:
        raise DataError(
            f"lr has shape {lr.shape}, expected {expected} for hr {hr.shape} at scale {scale}; "
            "give the LR cube that sr was made from, or leave it out."
        )


def _high(values: Cube) -> float:
    """Return the largest absolute value but for the outermost hundredth of the pixels, such as glints."""
    largest = max((max(float(np.max(part)), -float(np.min(part))) for (part,) in windows(values)), default=0.0)
    if largest <= PLAUSIBLE:
        return largest
    step = max(1, int((prod(values.shape) / _MOST_SAMPLED) ** 0.5))
    rows = range(0, values.shape[1], step)
    return float(np.quantile(np.abs([values[:, row : row + 1, ::step] for row in rows]), 0.99))


def _check_finite(values: Cube, role: str, wavelength_nm: NDArray[np.float64] | None) -> None:
    bad = np.zeros(len(values), dtype=int)
    for (part,) in windows(values):
        bad += [plane.size - int(np.count_nonzero(np.isfinite(plane))) for plane in part]
    if bad.any():
        band = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{role} has {bad[band]} NaN or Inf of {prod(values.shape[1:])} values in "
            f"{band_label(band, wavelength_nm)}, expected finite values; mask or crop them away before scoring."
        )
