"""Score the pixels of a prediction that have data."""

import math

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.evaluation.cubes import Array
from hsipipe.evaluation.metrics import band_mse, ergas, mpsnr_db, sam_deg

_ROUNDING = 1e-6
"""Ratio of mean and root mean square below which a mean is zero but for rounding, with a margin to that of ERGAS."""
_LEAST_MSE = 1e-12
"""Error of a band that is restored exactly, 120 dB."""
Mask = NDArray[np.bool_]


def valid_pixels(cube: Array, valid: Mask) -> Array:
    """Return the pixels with data as a cube of one row (C, 1, N); a cube without holes is returned as it is.

    Args:
        cube: (C, H, W).
        valid: True for data, (H, W) or (C, H, W); a pixel needs data in every band, since its spectrum is compared.

    Raises:
        DataError: The mask has another size.
    """
    if valid.shape not in (cube.shape, cube.shape[1:]):
        raise DataError(
            f"Got a mask of shape {valid.shape} for a cube of {cube.shape}, expected {cube.shape[1:]} or {cube.shape}."
        )
    whole: Mask = np.asarray(valid.all(axis=0)) if valid.ndim == cube.ndim else valid
    return cube if whole.all() else cube[:, whole][:, None]


def scored_bands(hr: Array, valid: Mask) -> Mask:
    """Return the bands (C,) whose values vary over the pixels with data, and whose mean is not zero.

    Any method restores the other ones, or ERGAS is not defined.

    Args:
        hr: Truth (C, H, W).
        valid: True for data, (H, W) or (C, H, W).
    """
    pixels = valid_pixels(hr, valid)
    if not pixels.size:
        return np.zeros(len(hr), dtype=bool)
    return np.array([_can_be_scored(np.asarray(band, dtype=np.float64)) for band in pixels])


def score_valid(sr: Array, hr: Array, valid: Mask, *, scale: int) -> dict[str, float]:
    """Compute ``mpsnr_db``, ``sam_deg`` and ``ergas`` over the pixels with data.

    MPSNR and ERGAS are those of the :func:`scored_bands`, NaN without any. The PSNR of a band is at most 120 dB.

    Args:
        sr: Prediction (C, H, W), full range 1.0.
        hr: Truth (C, H, W).
        valid: True for data, (H, W) or (C, H, W).
        scale: Ratio of the pixel sizes s, for ERGAS.

    Raises:
        DataError: No pixel has data, or the mask has another size.
    """
    scored = scored_bands(hr, valid)
    sr, hr = valid_pixels(sr, valid), valid_pixels(hr, valid)
    if not hr.size:
        raise DataError(f"None of the {valid.shape[-2]} x {valid.shape[-1]} pixels has data in every band.")
    angle = sam_deg(sr, hr)
    if not scored.any():
        return {"mpsnr_db": math.nan, "sam_deg": angle, "ergas": math.nan}
    if not scored.all():
        sr, hr = sr[scored], hr[scored]
    mse = np.maximum(band_mse(sr, hr), _LEAST_MSE)
    return {"mpsnr_db": mpsnr_db(mse), "sam_deg": angle, "ergas": ergas(mse, hr, ratio=scale)}


def _can_be_scored(band: NDArray[np.float64]) -> bool:
    size = float(np.sqrt(np.square(band).mean()))
    return bool(band.min() < band.max() and abs(float(band.mean())) > 1.01 * _ROUNDING * size)
