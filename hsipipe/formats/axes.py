"""Identify the band axis of an array whose axes have no names."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BANDS = 640
"""Largest number of bands: no published imaging spectrometer has more, and images often have more columns."""
_SAMPLE = 64
"""Edge in pixels of the sample that is examined where the file stores no number of bands."""
_FEWEST = 8
"""Smallest number of slices along an axis whose correlation is meaningful."""
_CLEARLY = 3.0
"""Ratio of dissimilarities that decides. Neighbouring bands of airborne scenes are 2 to 100 times more similar than
neighbouring rows; in smooth laboratory scenes rows and columns may be more similar than bands."""


def band_axis(values: Any, *, counts: Iterable[int] = (), images: Iterable[tuple[int, ...]] = ()) -> int:
    """Identify the band axis of an array of rank 3.

    Args:
        values: NumPy or Dask array.
        counts: Numbers of bands stored in the file, the most reliable first (its wavelengths).
        images: Shapes of single images in the same file, such as masks and ground truth.

    If neither decides: an axis longer than 640 is spatial; two equal axes after the first are those of the image;
    otherwise the last axis holds the bands, as is usual in MATLAB, unless slices along the first axis are far more
    similar than those along both others.

    Returns:
        0, 1 or 2.
    """
    shape = values.shape
    first, middle, last = shape
    counted = [[axis for axis in (2, 0, 1) if shape[axis] == count] for count in counts]
    seen = [[axis for axis in (2, 0, 1) if image == (*shape[:axis], *shape[axis + 1 :])] for image in images]
    for axes in counted + seen:
        if axes and not {0, 2} <= set(axes):
            return axes[0]
    few = [axis for axis in range(3) if shape[axis] <= _MOST_BANDS]
    if len(few) == 1:
        return few[0]
    if middle == last != first:
        return 0
    if last > _MOST_BANDS >= first:
        return 0
    return 0 if middle != first and _is_first_smoother(values) else 2


def _is_first_smoother(values: Any) -> bool:
    if min(values.shape) < _FEWEST:
        return False
    starts = [(size - min(size, _SAMPLE)) // 2 for size in values.shape]
    piece = values[tuple(slice(start, start + _SAMPLE) for start in starts)]
    sample = np.nan_to_num(np.asarray(piece, dtype=np.float64), posinf=0.0, neginf=0.0)
    # In a smooth image rows and columns are equally similar; bands are similar even where rows and columns are not.
    return _CLEARLY * _unlikeness(sample, 0) < min(_unlikeness(sample, 1), _unlikeness(sample, 2))


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
