"""Power spectra of images, averaged over directions; a spectrum needs a whole band in memory."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask
from hsipipe.artifacts.views import Cube
from hsipipe.evaluation.windows import bands


def radial_power(
    plane: NDArray[np.floating[Any]], valid: Mask | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average the power spectrum of an image (H, W) over directions, in rings of one cycle per image edge.

    The image is windowed (Hann), since its borders do not continue each other. Pixels that are not valid (H, W) have
    the mean of the others, as if the window were zero there.

    Returns:
        Frequencies in cycles per pixel up to 1/2, and the power at each.
    """
    height, width = plane.shape
    # In place, and ring by row: a band of a large scene takes much memory.
    values = plane.astype(np.float64)
    values -= plane.mean(dtype=np.float64) if valid is None else plane[valid].mean(dtype=np.float64)
    values *= np.hanning(height + 2)[1:-1, None]
    values *= np.hanning(width + 2)[1:-1]
    if valid is not None:
        values[~valid] = 0
    spectrum = np.fft.rfft2(values)
    rings = min(height, width) // 2
    count, total = np.zeros(rings + 1), np.zeros(rings + 1)
    columns = np.fft.rfftfreq(width)
    for frequency, row in zip(np.fft.fftfreq(height), spectrum, strict=True):
        index = np.minimum((np.hypot(frequency, columns) * 2 * rings).astype(int), rings)
        count += np.bincount(index, minlength=rings + 1)
        total += np.bincount(index, np.square(np.abs(row)), minlength=rings + 1)
    count, total = count[:rings], total[:rings]
    return (np.arange(rings) + 0.5) / (2 * rings), total / np.maximum(count, 1)


def mean_power(cube: Cube, valid: Mask | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average :func:`radial_power` over the bands of a cube (C, H, W)."""
    spectra = [radial_power(plane, valid) for plane in bands(cube)]
    return spectra[0][0], np.mean([power for _, power in spectra], axis=0)


def log_ratio(image: Cube, hr: Cube, low: float, high: float, valid: Mask | None = None) -> float:
    """Mean absolute log10 ratio of the power of an image to that of the truth, over bands and frequencies.

    Args:
        image: (C, H, W).
        hr: Truth (C, H, W).
        low: Frequencies above this in cycles per pixel.
        high: Frequencies below this.
        valid: Pixels with data (H, W); None: all.
    """
    errors = []
    for plane, truth in zip(bands(image), bands(hr), strict=True):
        frequency, power = radial_power(truth, valid)
        kept = (frequency > low) & (frequency < high) & (power > 0)
        ratio = radial_power(plane, valid)[1][kept] / power[kept]
        errors.append(np.abs(np.log10(np.maximum(ratio, 1e-12))).mean() if kept.any() else math.nan)
    return float(np.mean(errors))
