"""Degrade images with pixels that have no data, by the PSF normalised over those that have some."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError

LEAST_WEIGHT = 0.5
"""Smallest share of the weights of the PSF on pixels with data with which an LR pixel has data."""


def downsample_valid(image: NDArray[Any], valid: Mask, scale: int, *, psf: Psf) -> tuple[NDArray[Any], Mask]:
    """Downsample an image by the pixels that have data: ``D(v x) / D(v)`` with the PSF D and the mask v.

    Normalised convolution, Knutsson and Westin 1993, DOI 10.1109/CVPR.1993.341081, eq. 4. Where all pixels have data,
    the result is that of :meth:`Psf.downsample`.

    Args:
        image: (C, H, W); values without data are not used.
        valid: True for data, (H, W) or (C, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.

    Returns:
        The LR image (C, h, w), NaN without data, and its mask in the shape of `valid`.

    Raises:
        DataError: The mask does not fit the image, or the scale does not divide height or width.
    """
    if valid.shape not in (image.shape, image.shape[1:]):
        raise DataError(
            f"Got a mask of shape {valid.shape} for an image of {image.shape}, expected {image.shape[1:]} or "
            f"{image.shape}; give the mask of this image."
        )
    if valid.all():
        low = psf.downsample(image, scale)
        return low, np.ones(valid.shape[:-2] + low.shape[-2:], dtype=bool)
    weight = normalised_weights(valid, scale, psf=psf)
    total = psf.downsample(np.where(valid, image, 0).astype(image.dtype, copy=False), scale)
    return (total / weight).astype(total.dtype, copy=False), np.isfinite(weight)


def normalised_weights(valid: Mask, scale: int, *, psf: Psf, least: float = LEAST_WEIGHT) -> NDArray[np.float64]:
    """Return the share of the PSF's weights on valid pixels (..., h, w), NaN where it is below `least`.

    Args:
        valid: True for data, (..., H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        least: Smallest share with which an LR pixel has data.
    """
    weight: NDArray[np.float64] = psf.downsample(valid.astype(np.float64), scale)
    # Pixels next to a hole only: elsewhere the weights sum to one but for rounding.
    weight[np.abs(weight - 1) < 1e-9] = 1
    weight[weight < least] = np.nan
    return weight
