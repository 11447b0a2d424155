"""Compare a cube with the truth pixel by pixel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def angle_map(cube: Array, truth: Array) -> NDArray[np.float32]:
    """Return the spectral angle of each pixel in degrees (h, w); NaN where a spectrum is zero or has no value.

    The angle of the unit vectors u, v is ``2 atan2(|u - v|, |u + v|)``, which is exact for small angles (Kahan, "How
    futile are mindless assessments of roundoff in floating-point computation?", 2006, section 12). Its mean over pixels
    is the metric SAM.

    Args:
        cube: Values (C, h, w).
        truth: Values of the same shape.
    """
    norms = [np.sqrt(sum(np.square(plane.astype(np.float64)) for plane in planes)) for planes in (cube, truth)]
    norms = [np.where(norm > 0, norm, np.nan) for norm in norms]
    apart, along = np.zeros(cube.shape[1:]), np.zeros(cube.shape[1:])
    for a, b in zip(cube, truth, strict=True):
        u, v = a / norms[0], b / norms[1]
        apart += np.square(u - v)
        along += np.square(u + v)
    angle = 2 * np.arctan2(np.sqrt(apart), np.sqrt(along))
    return np.asarray(np.degrees(angle), dtype=np.float32)


def error_map(cube: Array, truth: Array) -> NDArray[np.float32]:
    """Return the mean over bands of the absolute error (h, w); NaN where there is no value."""
    total = np.zeros(cube.shape[1:])
    for a, b in zip(cube, truth, strict=True):
        total += np.abs(a.astype(np.float64) - b)
    return (total / len(truth)).astype(np.float32)
