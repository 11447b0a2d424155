"""Sensor noise: white and Gaussian, with a given signal-to-noise ratio (SNR) in each band.

Every row of a cube has a separate random generator, so the noise does not depend on the strips of a scene.
"""

from collections.abc import Sequence
from math import nan
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import ParamsError

# No sensor exceeds it, and far larger values overflow.
_MOST_DB = 200.0


def check_snr(name: str, value: object) -> None:
    """Check a signal-to-noise ratio; None means no noise.

    Args:
        name: Name of the parameter, for the message.
        value: Ratio in dB.

    Raises:
        ParamsError: The value is no number of decibels in the allowed range.
    """
    decibels = float(value) if isinstance(value, Real) else nan
    if value is not None and not abs(decibels) <= _MOST_DB:  # "not <=" also catches NaN
        raise ParamsError(
            f"{name} must be a number of decibels from {-_MOST_DB:g} to {_MOST_DB:g}, or None for no noise, "
            f"got {value!r}."
        )


def band_power(strip: NDArray[Any]) -> NDArray[np.float64]:
    """Sum the squares of each band, (C, rows, W) to (C,); the sums of strips add up to that of the scene."""
    return np.asarray(np.einsum("brx,brx->b", strip, strip, dtype=np.float64))


def noise_rows(shape: tuple[int, int, int], *, first_row: int, seed: Sequence[int]) -> NDArray[np.float32]:
    """Draw white noise of mean 0 and variance 1.

    Args:
        shape: Bands, rows and columns, (C, rows, W).
        first_row: Index of the first row in the scene.
        seed: Whole numbers that identify the scene and the sensor.
    """
    bands, rows, width = shape
    out = np.empty(shape, dtype=np.float32)
    # With the length, because NumPy treats (1, 2) and (1, 2, 0) as the same seed.
    name = [len(seed), *seed]
    for row in range(rows):
        generator = np.random.default_rng(np.random.SeedSequence(name, spawn_key=(first_row + row,)))
        out[:, row] = generator.standard_normal((bands, width), dtype=np.float32)
    return out


def add_noise(
    values: NDArray[Any], *, snr_db: float, power: NDArray[np.float64], seed: Sequence[int], first_row: int = 0
) -> NDArray[Any]:
    """Add noise of variance power / 10^(SNR / 10) to each band.

    Args:
        values: A cube or some of its rows, (C, rows, W), of a float dtype, which is kept.
        snr_db: Ratio of the powers of signal and noise in dB.
        power: Mean square of each band over the whole scene, (C,): :func:`band_power` divided by the number of pixels.
        seed: Whole numbers that identify the scene and the sensor.
        first_row: Index of the first row in the scene.
    """
    sigma = np.sqrt(power / 10.0 ** (snr_db / 10.0)).astype(values.dtype)
    noise = noise_rows(values.shape, first_row=first_row, seed=seed)
    return np.asarray(values + sigma[:, None, None] * noise.astype(values.dtype, copy=False))
