"""Which axis holds the bands, where the file gives the axes no names."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BANDS = 640
"""No imaging spectrometer whose cubes are published has more bands; images often have more columns."""
_SAMPLE = 64
"""Edge of the piece that is looked at where names and numbers do not tell."""
_FEWEST = 8
"""Slices along an axis below which their likeness says nothing."""
_CLEARLY = 3.0
"""Neighbouring bands are 2 to 100 times more alike than neighbouring rows in scenes from the air; in smooth
laboratory scenes rows and columns may be more alike than bands."""


def band_axis(values: Any, *, counts: Iterable[int] = (), images: Iterable[tuple[int, ...]] = ()) -> int:
    """The axis of the bands in an array of rank 3.

    Args:
        values: The array, NumPy or Dask.
        counts: Numbers of bands that the file says, the most trustworthy first (its wavelengths).
        images: Shapes of single images in the same file: masks, ground truth.

    Where neither settles it: a side of more than 640 is none of bands; two equal sides after the first are those of
    the image; otherwise the last axis holds the bands, as MATLAB users keep them, unless the slices along the first
    are by far more alike than those along both others.
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
    # In a smooth image its rows are as alike as its columns; bands are alike where neither rows nor columns are.
    return _CLEARLY * _unlikeness(sample, 0) < min(_unlikeness(sample, 1), _unlikeness(sample, 2))


def _unlikeness(sample: NDArray[np.float64], axis: int) -> float:
    """Median over neighbouring slices of one minus their correlation; 0 where nothing varies."""
    slices = np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1)
    slices = slices - slices.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(slices, axis=1)
    products = norms[:-1] * norms[1:]
    varied = products > 0
    if not varied.any():
        return 0.0
    return float(np.median(1 - np.einsum("ij,ij->i", slices[:-1], slices[1:])[varied] / products[varied]))


def bands_to_front(values: Any, axis: int) -> Any:
    """Move an axis of a NumPy or Dask array to the front."""
    return values if axis == 0 else np.moveaxis(values, axis, 0)
