"""MATLAB's ``imresize(x, s, "bicubic")`` as two products with banded matrices.

Keys' cubic with a = -0.5 (DOI 10.1109/TASSP.1981.1163711, eq. 15), widened by the scale for downsampling
(antialiasing), symmetric boundary, weights normalised to sum to one.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.banded import Banded, apply_both, coarser_shape


@lru_cache(maxsize=64)
def bicubic_operator(n_in: int, n_out: int) -> Banded:
    """Return the operator that resizes one axis, antialiased for downsampling."""
    scale = n_out / n_in
    squeeze = min(scale, 1.0)
    width = 4.0 / squeeze
    centre = (np.arange(n_out) + 0.5) / scale - 0.5
    left = np.floor(centre - width / 2).astype(np.int64)
    indices = left[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = squeeze * _cubic(squeeze * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    # Taps of weight zero would widen the blocks and, at the border, refer to mirrored pixels.
    used = np.any(weights != 0, axis=0)
    return Banded(n_in, indices[:, used], weights[:, used])


def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float64]:
    """Return the weights of one axis, (n_out, n_in); each row sums to one."""
    return bicubic_operator(n_in, n_out).matrix()


@lru_cache(maxsize=64)
def shift_operator(n: int, shift: float) -> Banded:
    """Return the operator that shifts the content of one axis of n pixels by `shift` pixels to the right."""
    whole = int(np.floor(-shift))
    indices = np.arange(n)[:, None] + whole + np.arange(-1, 3)
    weights = _cubic(-shift - whole - np.arange(-1, 3, dtype=np.float64))
    return Banded(n, indices, np.broadcast_to(weights, indices.shape))


def resize(x: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize (..., H, W) to (..., *size), antialiased for downsampling; integers become float32."""
    height, width = x.shape[-2:]
    return apply_both(x, bicubic_operator(height, size[0]), bicubic_operator(width, size[1]))


def downsample(x: NDArray[Any], scale: int) -> NDArray[Any]:
    """Downsample (..., H, W) to (..., H/s, W/s) with antialiased bicubic weights; a float dtype is kept.

    Raises:
        DataError: The scale does not divide height or width.
    """
    return resize(x, coarser_shape(x.shape, scale))


def upsample(x: NDArray[Any], scale: int) -> NDArray[Any]:
    """Upsample (..., h, w) to (..., h s, w s) with bicubic weights; a float dtype is kept."""
    height, width = x.shape[-2:]
    return resize(x, (height * scale, width * scale))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
