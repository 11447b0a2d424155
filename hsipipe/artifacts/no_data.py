"""Pixels without data: NaN in the files, filled in memory, with a mask of the valid pixels beside them.

A pixel is valid if it has a finite value in every band, since its spectrum is used as a whole. Only a store with such
pixels says so, by the attribute :data:`NO_DATA`; all others are read as they are.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

NO_DATA = "no_data_share"
"""Attribute of a store, and key of an index: the share of the pixels without data, more than 0."""
VALID = "valid"
"""Array of a patch store: 1 for a valid pixel, 0 for one that was filled (N, 1, P, P) uint8."""
Mask = NDArray[np.bool_]
T = TypeVar("T", bound=np.floating[Any])


def has_data(image: NDArray[Any]) -> Mask:
    """Return the pixels (H, W) of an image (C, H, W) with a finite value in every band."""
    return np.asarray(np.isfinite(image).all(axis=0))


def nearest_data(holes: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return row and column, each (h, w), of the pixel with data that is nearest to each pixel."""
    rows, columns = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return rows, columns


def filled(image: NDArray[T], valid: Mask, *, scale: int = 1) -> NDArray[T]:
    """Give each pixel of an image (C, H, W) that is not valid the mean of the nearest LR pixel with valid ones.

    The LR-HSI of a scene with holes is degraded from the scene that is filled so, and the HR-MSI is filled so, too: a
    method that compares the two sees no contradiction. What the image holds in the pixels that are not valid has no
    effect. At least one pixel must be valid.

    Args:
        image: (C, H, W).
        valid: Pixels with data (H, W).
        scale: Ratio of the size of an LR pixel to that of the image; 1: the nearest valid pixel.
    """
    if valid.all():
        return image
    coarse = coarse_valid(valid, scale)
    rows, columns = nearest_data(~coarse)
    means = image if scale == 1 else cell_means(image, valid, scale)
    spread = means[:, rows, columns].repeat(scale, axis=1).repeat(scale, axis=2)
    return np.ascontiguousarray(np.where(valid, image, spread))


def cell_means(image: NDArray[T], valid: Mask, scale: int) -> NDArray[T]:
    """Return the means (C, h, w) over the valid pixels of each LR pixel; 0 without any."""
    bands, height, width = image.shape
    cells = (height // scale, scale, width // scale, scale)
    total = np.where(valid, image, 0).reshape(bands, *cells).sum(axis=(2, 4), dtype=np.float64)
    count = valid.reshape(cells).sum(axis=(1, 3))
    return np.asarray(total / np.maximum(count, 1), dtype=image.dtype)


def coarse_valid(valid: Mask, scale: int) -> Mask:
    """Return the LR pixels (..., h, w) of which at least one HR pixel (..., H, W) is valid."""
    height, width = (size // scale for size in valid.shape[-2:])
    cells = valid.reshape(*valid.shape[:-2], height, scale, width, scale)
    return np.asarray(cells.any(axis=(-3, -1)))
