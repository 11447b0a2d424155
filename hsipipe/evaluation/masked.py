"""Score the pixels of a prediction that have data."""

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.evaluation.cubes import Array
from hsipipe.evaluation.metrics import band_mse, ergas, mpsnr_db, sam_deg

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


def score_valid(sr: Array, hr: Array, valid: Mask, *, scale: int) -> dict[str, float]:
    """Compute ``mpsnr_db``, ``sam_deg`` and ``ergas`` over the pixels with data.

    Args:
        sr: Prediction (C, H, W), full range 1.0.
        hr: Truth (C, H, W).
        valid: True for data, (H, W) or (C, H, W).
        scale: Ratio of the pixel sizes s, for ERGAS.

    Raises:
        DataError: No pixel has data, the mask has another size, or a band of the truth has zero mean.
    """
    sr, hr = valid_pixels(sr, valid), valid_pixels(hr, valid)
    if not hr.size:
        raise DataError(f"None of the {valid.shape[-2]} x {valid.shape[-1]} pixels has data in every band.")
    mse = band_mse(sr, hr)
    return {"mpsnr_db": mpsnr_db(mse), "sam_deg": sam_deg(sr, hr), "ergas": ergas(mse, hr, ratio=scale)}
