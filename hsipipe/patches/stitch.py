"""Stitch patches into one array: the inverse of extraction."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsipipe.errors import DataError


def stitch(patches: NDArray[Any], origins: ArrayLike, shape: tuple[int, int]) -> NDArray[Any]:
    """Place patches at their origins and average them where they overlap.

    Sums are float64, so float32 patches cut from one array give back that array bit for bit.

    Args:
        patches: Patches (N, ..., y, x).
        origins: Upper left corners (N, 2) as (y, x), in pixels of the patches.
        shape: Height and width of the result.

    Returns:
        Array (..., height, width) of the dtype of the patches.

    Raises:
        DataError: A patch extends beyond the array, a pixel is in no patch, or the shapes do not match.
    """
    corners = np.asarray(origins, dtype=np.int64).reshape(-1, 2)
    if patches.ndim < 3 or len(corners) != len(patches):
        raise DataError(f"stitch takes patches (N, ..., y, x) and N corners, got {patches.shape} and {len(corners)}.")
    size = np.asarray(patches.shape[-2:])
    if (corners < 0).any() or (corners + size > shape).any():
        raise DataError(
            f"A patch of {size[0]} x {size[1]} pixels extends beyond the array of {shape[0]} x {shape[1]} pixels."
        )
    total = np.zeros((*patches.shape[1:-2], *shape), dtype=np.float64)
    count = np.zeros(shape, dtype=np.int64)
    for patch, (y, x) in zip(patches, corners.tolist(), strict=True):
        window = (slice(y, y + size[0]), slice(x, x + size[1]))
        total[(..., *window)] += patch
        count[window] += 1
    if uncovered := int((count == 0).sum()):
        raise DataError(f"{uncovered} of {count.size} pixels are in no patch; pass all patches of the array.")
    total /= count
    return total.astype(patches.dtype)
