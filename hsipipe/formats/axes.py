"""Identify the band axis of an array whose axes have no names."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BLOCKS = 1_000_000
"""Most blocks of an array whose values are looked at."""
_MOST_BANDS = 640
"""Largest number of bands: no published imaging spectrometer has more, and images often have more columns."""
_SAMPLE = 64
"""Edge in pixels of the sample that is examined where the file stores no number of bands."""
_FEWEST = 8
"""Smallest number of slices along an axis whose correlation is meaningful."""
_CLEARLY = 3.0
"""Ratio of dissimilarities that decides. Neighbouring bands of airborne scenes are 2 to 100 times more similar than
neighbouring rows; in smooth laboratory scenes rows and columns may be more similar than bands."""
_NOTABLY = 1.3
"""Ratio of dissimilarities that confirms the last axis, the usual one; that of noise is nearer to 1."""
_ALIKE = 2.0
"""Ratio up to which the dissimilarities of rows and columns count as equal."""


def band_axis(values: Any, *, counts: Iterable[int] = (), images: Iterable[tuple[int, ...]] = ()) -> int:
    """Identify the band axis of an array of rank 3 as :func:`clear_band_axis` does; in doubt the last, as in MATLAB.

    Returns:
        0, 1 or 2.
    """
    shape = values.shape
    found = _by_lengths(shape, counts, images)
    if found is None and min(shape) >= _FEWEST and not shape[0] == shape[1] != shape[2]:
        found = _by_values(shape, _unlikenesses(values))
    if found is not None:
        return found
    return 0 if shape[2] > _MOST_BANDS >= shape[0] else 2


def clear_band_axis(values: Any, *, counts: Iterable[int] = (), images: Iterable[tuple[int, ...]] = ()) -> int | None:
    """Identify the band axis of an array of rank 3; None in doubt.

    Args:
        values: NumPy or Dask array.
        counts: Numbers of bands stored in the file, the most reliable first (its wavelengths).
        images: Shapes of single images in the same file, such as masks and ground truth.

    If neither decides: an axis longer than 640 is spatial; two equal axes at the start or the end are those of the
    image; the axis holds the bands along which slices are far more similar than along both others; and an image has at
    least 8 rows and columns.

    Returns:
        0, 1, 2 or None.
    """
    shape = values.shape
    found = _by_lengths(shape, counts, images)
    if found is not None:
        return found
    if shape[0] == shape[1] != shape[2]:
        return 2
    if min(shape) < _FEWEST:
        short = [axis for axis in range(3) if shape[axis] < _FEWEST]
        return {1: short[0], 3: 2}.get(len(short))  # three short sides are those of no image
    unlike = _unlikenesses(values)
    found = _by_values(shape, unlike)
    return 2 if found is None and _is_last_odd(unlike) and shape[2] <= _MOST_BANDS else found


def _by_lengths(shape: tuple[int, ...], counts: Iterable[int], images: Iterable[tuple[int, ...]]) -> int | None:
    counted = [[axis for axis in (2, 0, 1) if shape[axis] == count] for count in counts]
    seen = [[axis for axis in (2, 0, 1) if image == (*shape[:axis], *shape[axis + 1 :])] for image in images]
    for axes in counted + seen:
        if axes and not {0, 2} <= set(axes):
            return axes[0]
    few = [axis for axis in range(3) if shape[axis] <= _MOST_BANDS]
    if len(few) == 1:
        return few[0]
    return 0 if shape[1] == shape[2] != shape[0] else None


def _by_values(shape: tuple[int, ...], unlike: list[float]) -> int | None:
    """Return the axis along which slices are clearly more similar than along both others."""
    # In a smooth image rows and columns are equally similar; bands are similar even where rows and columns are not.
    clear = [axis for axis in range(3) if _CLEARLY * unlike[axis] < min(unlike[:axis] + unlike[axis + 1 :])]
    return clear[0] if clear and shape[clear[0]] <= _MOST_BANDS else None


def _is_last_odd(unlike: list[float]) -> bool:
    """Return True if rows and columns are about equally similar, and slices along the last axis are not."""
    first, middle, last = unlike
    low, high = sorted((first, middle))
    return high < _ALIKE * low and (_NOTABLY * last < low or last > _CLEARLY * high)


def _unlikenesses(values: Any) -> list[float]:
    if getattr(values, "npartitions", 1) > _MOST_BLOCKS:
        return [0.0, 0.0, 0.0]  # Dask walks over all blocks, even those that are not read
    starts = [(size - min(size, _SAMPLE)) // 2 for size in values.shape]
    piece = values[tuple(slice(start, start + _SAMPLE) for start in starts)]
    sample = np.nan_to_num(np.asarray(piece, dtype=np.float64), posinf=0.0, neginf=0.0)
    return [_unlikeness(sample, axis) for axis in range(3)]


def _unlikeness(sample: NDArray[np.float64], axis: int) -> float:
    """Compute the median of 1 - correlation over neighbouring slices; 0 for constant slices."""
    slices = np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1)
    slices = slices - slices.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(slices, axis=1)
    products = norms[:-1] * norms[1:]
    varied = products > 0
    if not varied.any():
        return 0.0
    return float(np.median(1 - np.einsum("ij,ij->i", slices[:-1], slices[1:])[varied] / products[varied]))


def axis_of_count(shape: tuple[int, ...], count: int | None) -> int:
    """Return the first axis, or the last or middle one if only that one has `count` entries."""
    return next((axis for axis in (0, 2, 1) if shape[axis] == count), 0)


def bands_to_front(values: Any, axis: int) -> Any:
    """Move an axis of a NumPy or Dask array to the front."""
    return values if axis == 0 else np.moveaxis(values, axis, 0)
