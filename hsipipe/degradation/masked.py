"""Degrade images with pixels that have no data, by the PSF normalised over those that have some."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask, has_data
from hsipipe.degradation.banded import BLOCK_ROWS, coarser_shape
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


_WINDOW_BYTES = 32 << 20
"""Size of the rows that are degraded at once, unless :data:`BLOCK_ROWS` LR rows are larger."""


def downsampled(
    image: Any, scale: int, *, psf: Psf, valid: Mask | None = None
) -> Iterator[tuple[slice, NDArray[np.float64], Mask]]:
    """Downsample an image that is read by rows, in float64.

    Args:
        image: (C, H, W), an array or a file that is read by slices.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        valid: Pixels with data (H, W), as for :func:`downsample_valid`; None: all.

    Yields:
        Rows of the LR image, their values (C, rows, w), and which of their pixels have data (rows, w).

    Raises:
        DataError: The scale does not divide height or width.
    """
    height, width = coarser_shape(image.shape, scale)
    row_bytes = 4 * image.shape[0] * width * scale * scale
    step = max(1, _WINDOW_BYTES // (row_bytes * BLOCK_ROWS)) * BLOCK_ROWS
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        low = downsampled_rows(image, rows, scale, psf=psf, valid=valid)
        yield rows, low, has_data(low)


def downsampled_rows(
    image: Any, rows: slice, scale: int, *, psf: Psf, valid: Mask | None = None
) -> NDArray[np.float64]:
    """Compute some rows (C, rows, w) of :func:`downsampled`; they begin at a multiple of :data:`BLOCK_ROWS`."""
    height = image.shape[1]
    source = psf.operator(height, scale).window(rows)
    part = np.asarray(image[:, source], dtype=np.float64)
    if valid is None:
        return psf.downsample_rows(part, scale, height=height, outputs=rows)
    seen = valid[source]
    weight = psf.downsample_rows(seen.astype(np.float64), scale, height=height, outputs=rows)
    total = psf.downsample_rows(np.where(seen, part, 0), scale, height=height, outputs=rows)
    return np.asarray(total / _checked(weight, LEAST_WEIGHT))


def normalised_weights(valid: Mask, scale: int, *, psf: Psf, least: float = LEAST_WEIGHT) -> NDArray[np.float64]:
    """Return the share of the PSF's weights on valid pixels (..., h, w), NaN where it is below `least`.

    Args:
        valid: True for data, (..., H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        least: Smallest share with which an LR pixel has data.
    """
    return _checked(psf.downsample(valid.astype(np.float64), scale), least)


def _checked(weight: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    # Pixels next to a hole only: elsewhere the weights sum to one but for rounding.
    weight[np.abs(weight - 1) < 1e-9] = 1
    weight[weight < least] = np.nan
    return weight
