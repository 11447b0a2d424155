"""Resampling of one axis as a banded matrix, stored and multiplied as small dense blocks.

Each block of output rows or columns depends on few input rows or columns, so the cost grows linearly with the number of
pixels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hsipipe.errors import DataError

# Output rows per block: enough for BLAS, but few enough that the block is not mostly zeros.
BLOCK_ROWS = 8
_BLOCK_COLUMNS = 16
# Bytes of the intermediate result of some bands, which stays in the CPU cache between the two products.
_CACHE = 1 << 20
# Rows per product along the last axis. BLAS would run larger products on several threads, which would compete with the
# threads over the bands.
_PRODUCT_ROWS = 256


@dataclass(frozen=True)
class Block:
    """A dense block: outputs ``start:stop`` of one axis equal `matrix` times inputs ``low:high``."""

    start: int
    stop: int
    low: int
    high: int
    matrix: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Banded:
    """A linear operator on one axis with a symmetric boundary (the edge pixel is repeated, then its neighbour).

    Attributes:
        n_in: Number of inputs.
        indices: Inputs of each output, (n_out, taps); indices outside of ``0:n_in`` are mirrored as often as needed.
        weights: Weights of these inputs, (n_out, taps).
    """

    n_in: int
    indices: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return len(self.indices)

    def blocks(self, size: int, dtype: DTypeLike = np.float64) -> tuple[Block, ...]:
        """Return the nonzero part of :meth:`matrix` as blocks of `size` outputs."""
        return _blocks(self, size, np.dtype(dtype).char)

    def matrix(self) -> NDArray[np.float64]:
        """Return the dense matrix (n_out, n_in)."""
        matrix = np.zeros((self.n_out, self.n_in))
        for block in self.blocks(BLOCK_ROWS):
            matrix[block.start : block.stop, block.low : block.high] = block.matrix
        return matrix

    def strips(self, rows: int) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
        """Yield runs of `rows` outputs: the outputs, the inputs they depend on, and the matrix between the two."""
        for block in self.blocks(rows):
            yield slice(block.start, block.stop), slice(block.low, block.high), block.matrix

    def window(self, outputs: slice) -> slice:
        """Return the inputs of a run of outputs, which must start and end at block boundaries."""
        chosen = _between(self.blocks(BLOCK_ROWS), outputs)
        return slice(min(block.low for block in chosen), max(block.high for block in chosen))


def coarser_shape(shape: tuple[int, ...], scale: int) -> tuple[int, int]:
    """Return height and width of (..., H, W) in LR pixels.

    Raises:
        DataError: The scale does not divide height or width.
    """
    height, width = shape[-2:]
    for axis, size in (("height", height), ("width", width)):
        if size % scale or not size:
            raise DataError(
                f"The {axis} of {size} pixels leaves a remainder of {size % scale} at scale {scale}; "
                f"crop it to {size - size % scale} or set a scale that divides it."
            )
    return height // scale, width // scale


def apply_both(
    x: NDArray[Any], rows: Banded, columns: Banded, *, outputs: slice | None = None, threads: int = 1
) -> NDArray[Any]:
    """Resample the last two axes.

    Args:
        x: (..., H, W); a float dtype is kept, others become float32.
        rows: Operator on the second to last axis.
        columns: Operator on the last axis.
        outputs: Rows of the result to compute, from an `x` that holds only the rows ``rows.window(outputs)``.
        threads: Number of threads, over groups of bands.
    """
    # A kernel with gaps may skip the first rows of a whole image, so the shift applies to a window alone.
    shift = rows.window(outputs).start if outputs else 0
    outputs = outputs or slice(0, rows.n_out)
    kind = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(np.float32)
    compute = np.dtype(np.float64) if kind == np.float64 else np.dtype(np.float32)
    stack = x.reshape(-1, *x.shape[-2:])
    height = outputs.stop - outputs.start
    out = np.empty((len(stack), height, columns.n_out), dtype=compute)
    blocks = [
        Block(b.start - outputs.start, b.stop - outputs.start, b.low - shift, b.high - shift, b.matrix)
        for b in _between(rows.blocks(BLOCK_ROWS, compute), outputs)
    ]
    step = max(1, _CACHE // max(1, height * x.shape[-1] * compute.itemsize))

    def work(first: int) -> None:
        bands = slice(first, first + step)
        with np.errstate(all="ignore"):  # the caller checks the result for NaN and infinity
            narrow = _apply_rows(np.ascontiguousarray(stack[bands], dtype=compute), blocks, height)
            apply_columns(narrow, out[bands], columns)

    firsts = range(0, len(stack), step)
    if threads > 1 and len(firsts) > 1:
        with ThreadPoolExecutor(min(threads, len(firsts))) as pool:
            list(pool.map(work, firsts))
    else:
        for first in firsts:
            work(first)
    return out.reshape(*x.shape[:-2], *out.shape[1:]).astype(kind, copy=False)


def apply_columns(x: NDArray[Any], out: NDArray[Any], columns: Banded) -> None:
    """Resample the last axis of a contiguous (N, H, W) into a contiguous `out` (N, H, n_out) of the same dtype."""
    source, target = x.reshape(-1, x.shape[-1]), out.reshape(-1, out.shape[-1])
    blocks = columns.blocks(_BLOCK_COLUMNS, x.dtype)
    for first in range(0, len(source), _PRODUCT_ROWS):
        rows = slice(first, first + _PRODUCT_ROWS)
        for block in blocks:
            np.matmul(source[rows, block.low : block.high], block.matrix.T, out=target[rows, block.start : block.stop])


def _apply_rows(x: NDArray[Any], blocks: list[Block], height: int) -> NDArray[Any]:
    out = np.empty((len(x), height, x.shape[-1]), dtype=x.dtype)
    for block in blocks:
        np.matmul(block.matrix, x[:, block.low : block.high], out=out[:, block.start : block.stop])
    return out


def _between(blocks: tuple[Block, ...], outputs: slice) -> list[Block]:
    return [block for block in blocks if outputs.start <= block.start < outputs.stop]


@lru_cache(maxsize=128)
def _blocks(operator: Banded, size: int, dtype: str) -> tuple[Block, ...]:
    return tuple(
        _block(operator, start, min(start + size, operator.n_out), dtype) for start in range(0, operator.n_out, size)
    )


def _block(operator: Banded, start: int, stop: int, dtype: str) -> Block:
    n_in = operator.n_in
    mirrored = np.mod(operator.indices[start:stop], 2 * n_in)
    chosen = np.where(mirrored < n_in, mirrored, 2 * n_in - 1 - mirrored)
    low, high = int(chosen.min()), int(chosen.max()) + 1
    matrix = np.zeros((stop - start, high - low))
    # add.at, because mirrored indices at the border repeat an input
    np.add.at(matrix, (np.arange(stop - start)[:, None], chosen - low), operator.weights[start:stop])
    matrix = matrix.astype(dtype)
    matrix.setflags(write=False)
    return Block(start, stop, low, high, matrix)
