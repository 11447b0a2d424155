"""Compute the positions of patches: index arithmetic only, no data."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask
from hsipipe.errors import DataError

# Number of regions that a message lists.
_LISTED = 8


def starts(extent: int, size: int, stride: int) -> NDArray[np.int64]:
    """Compute the first positions of windows that cover ``0:extent``; the last window is shifted to end at the border.

    Raises:
        DataError: The window is larger than the extent.
    """
    if extent < size:
        raise DataError(f"a window of {size} does not fit into {extent} pixels")
    regular = np.arange(0, extent - size + 1, stride, dtype=np.int64)
    last = extent - size
    return regular if regular[-1] == last else np.append(regular, last)


def check_regions(regions: Mapping[str, tuple[int, int]], *, size: int, scale: int) -> None:
    """Check that a patch fits into every region.

    Args:
        regions: Name of the region in messages -> height and width in HR pixels, multiples of the scale.
        size: Height and width of a patch.
        scale: Ratio s.

    Raises:
        DataError: A region is too small; the message gives the largest size that fits into all.
    """
    small = [f"{name} ({height} x {width})" for name, (height, width) in regions.items() if min(height, width) < size]
    if not small:
        return
    more = f" and {len(small) - _LISTED} more" if len(small) > _LISTED else ""
    fits = min(min(shape) for shape in regions.values()) // scale * scale
    raise DataError(
        f"A patch of {size} x {size} pixels does not fit into {', '.join(small[:_LISTED])}{more}. Set patches.size to "
        f"{fits} or less (a multiple of the scale {scale}) and patches.stride to no more than that, or use larger "
        "scenes (three or more are not cut into regions)."
    )


def patch_origins(name: str, shape: tuple[int, int], *, size: int, stride: int, scale: int) -> NDArray[np.int64]:
    """Compute the upper left corners (N, 2) as (y, x) in HR pixels, row by row; multiples of the scale.

    Args:
        name: Name of the region in messages.
        shape: Height and width in HR pixels, multiples of the scale.
        size: Height and width of a patch.
        stride: Distance of neighbouring patches in HR pixels, at most `size` so that every pixel is covered.
        scale: Ratio s.

    Raises:
        DataError: The region is smaller than a patch, or a size is not a multiple of the scale.
    """
    for key, value in (("patches.size", size), ("patches.stride", stride), ("height", shape[0]), ("width", shape[1])):
        if value % scale:
            raise DataError(f"{name}: {key} {value} is not a multiple of the scale {scale}.")
    if stride > size:
        raise DataError(
            f"patches.stride ({stride}) is larger than patches.size ({size}), so pixels between patches would be lost; "
            "lower the stride."
        )
    check_regions({name: shape}, size=size, scale=scale)
    rows, columns = starts(shape[0], size, stride), starts(shape[1], size, stride)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1)


def valid_shares(valid: Mask, origins: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Compute the share of valid pixels of each patch, (N,).

    Args:
        valid: Pixels of the region (H, W) with data.
        origins: Upper left corners of the patches (N, 2) as (y, x).
        size: Height and width of a patch.
    """
    total = np.pad(valid, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    y, x = origins.T
    count = total[y + size, x + size] - total[y, x + size] - total[y + size, x] + total[y, x]
    return np.asarray(count / size**2, dtype=np.float64)
