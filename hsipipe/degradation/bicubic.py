"""MATLAB's ``imresize(x, s, "bicubic")`` as two products with banded matrices.

Keys' cubic with a = -0.5 (DOI 10.1109/TASSP.1981.1163711, eq. 15), widened by the scale on the way down
(antialiasing), symmetric boundary, weights normalised to sum to one. Each block of output rows or columns
depends on few input rows or columns, so the products are taken block by block and the cost grows with the
number of pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError

# Outputs of one block: long enough for BLAS, short enough that the window is not mostly zeros.
_BLOCK = 8
# Bytes of the intermediate result of a few bands that stay in the cache between the two products.
_CACHE = 1 << 20


@dataclass(frozen=True)
class Block:
    """Outputs ``start:stop`` along one axis are `matrix` times inputs ``low:high``."""

    start: int
    stop: int
    low: int
    high: int
    matrix: NDArray[np.float64]


def resize_matrix(n_in: int, n_out: int) -> NDArray[np.float64]:
    """The weights of one axis, (n_out, n_in); each row sums to one."""
    matrix = np.zeros((n_out, n_in))
    for block in blocks(n_in, n_out):
        matrix[block.start : block.stop, block.low : block.high] = block.matrix
    return matrix


@lru_cache(maxsize=64)
def blocks(n_in: int, n_out: int, size: int = _BLOCK) -> tuple[Block, ...]:
    """The nonzero part of :func:`resize_matrix`, cut into runs of `size` outputs."""
    indices, weights = _contributions(n_in, n_out)
    return tuple(_block(indices, weights, start, min(start + size, n_out)) for start in range(0, n_out, size))


def downsample(x: NDArray[Any], scale: int) -> NDArray[Any]:
    """Antialiased bicubic reduction (..., H, W) -> (..., H/s, W/s); a float dtype is kept.

    Raises:
        DataError: The scale does not divide height or width.
    """
    height, width = x.shape[-2:]
    for axis, size in (("height", height), ("width", width)):
        if size % scale or not size:
            raise DataError(
                f"The {axis} of {size} pixels leaves a remainder of {size % scale} at scale {scale}; "
                f"crop it to {size - size % scale} or take a scale that divides it."
            )
    return resize(x, (height // scale, width // scale))


def upsample(x: NDArray[Any], scale: int) -> NDArray[Any]:
    """Bicubic enlargement (..., h, w) -> (..., h s, w s); a float dtype is kept."""
    height, width = x.shape[-2:]
    return resize(x, (height * scale, width * scale))


def resize(x: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize (..., H, W) to (..., *size), antialiased where it shrinks; integers come out as float32."""
    kind = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(np.float32)
    compute = np.dtype(np.float64) if kind == np.float64 else np.dtype(np.float32)
    stack = np.ascontiguousarray(x, dtype=compute).reshape(-1, *x.shape[-2:])
    out = np.empty((len(stack), *size), dtype=compute)
    step = max(1, _CACHE // max(1, size[0] * x.shape[-1] * compute.itemsize))
    for first in range(0, len(stack), step):
        resize_columns(resize_rows(stack[first : first + step], size[0]), out[first : first + step])
    return out.reshape(*x.shape[:-2], *size).astype(kind, copy=False)


def resize_rows(x: NDArray[Any], n_out: int) -> NDArray[Any]:
    """Resize the second to last axis of (N, H, W)."""
    out = np.empty((len(x), n_out, x.shape[-1]), dtype=x.dtype)
    for block in _typed_blocks(x.shape[-2], n_out, x.dtype.char):
        np.matmul(block.matrix, x[:, block.low : block.high], out=out[:, block.start : block.stop])
    return out


def resize_columns(x: NDArray[Any], out: NDArray[Any]) -> None:
    """Resize the last axis of a contiguous (N, H, W) into `out` (N, H, n_out)."""
    rows, target = x.reshape(-1, x.shape[-1]), out.reshape(-1, out.shape[-1])
    for block in _typed_blocks(x.shape[-1], out.shape[-1], x.dtype.char):
        np.matmul(rows[:, block.low : block.high], block.matrix.T, out=target[:, block.start : block.stop])


def downsample_rows(height: int, scale: int, *, rows: int) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
    """Cut a reduction into strips, for scenes that do not fit in memory.

    Args:
        height: Rows of the scene.
        scale: Ratio s.
        rows: LR rows in a strip.

    Yields:
        The LR rows of a strip, the HR rows that they depend on, and the matrix between the two.
    """
    for block in blocks(height, height // scale, rows):
        yield slice(block.start, block.stop), slice(block.low, block.high), block.matrix


@lru_cache(maxsize=64)
def _typed_blocks(n_in: int, n_out: int, dtype: str) -> tuple[Block, ...]:
    return tuple(
        Block(b.start, b.stop, b.low, b.high, np.ascontiguousarray(b.matrix, dtype=dtype)) for b in blocks(n_in, n_out)
    )


def _block(indices: NDArray[np.int64], weights: NDArray[np.float64], start: int, stop: int) -> Block:
    chosen = indices[start:stop]
    low, high = int(chosen.min()), int(chosen.max()) + 1
    matrix = np.zeros((stop - start, high - low))
    # add.at, because mirrored indices at the border meet the same input twice
    np.add.at(matrix, (np.arange(stop - start)[:, None], chosen - low), weights[start:stop])
    matrix.setflags(write=False)
    return Block(start, stop, low, high, matrix)


def _contributions(n_in: int, n_out: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Input indices and weights of each output, both (n_out, taps)."""
    scale = n_out / n_in
    squeeze = min(scale, 1.0)
    width = 4.0 / squeeze
    centre = (np.arange(n_out) + 0.5) / scale - 0.5
    left = np.floor(centre - width / 2).astype(np.int64)
    indices = left[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = squeeze * _cubic(squeeze * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    # Taps of weight zero would widen the windows and, at the border, point at mirrored pixels.
    used = np.any(weights != 0, axis=0)
    indices, weights = indices[:, used], weights[:, used]
    mirrored = np.mod(indices, 2 * n_in)
    return np.where(mirrored < n_in, mirrored, 2 * n_in - 1 - mirrored), weights


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
