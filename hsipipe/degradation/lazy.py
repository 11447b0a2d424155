"""Degradation of a Dask array in strips, without holding the scene in memory.

Each strip of LR rows is computed from all HR rows it depends on, including those of neighbouring strips, so the result
has no seams.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.banded import BLOCK_ROWS, apply_both, coarser_shape
from hsipipe.degradation.noise import add_noise
from hsipipe.degradation.psf import Psf

LazyArray: TypeAlias = Any
"""A Dask array, whose methods have no types."""

# Thinner strips would spend most of the time on rows shared with their neighbours.
_LEAST_BLOCKS = 2


def downsample_lazy(
    x: LazyArray, scale: int, *, psf: Psf, check: Callable[[NDArray[Any], tuple[int, ...]], None]
) -> LazyArray:
    """Downsample (..., H, W) to (..., H/s, W/s) lazily, in strips as high as the chunks of `x`.

    Args:
        x: Dask array with any chunks.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        check: Called during the computation with each block of the result and its position in the result.

    Raises:
        DataError: The scale does not divide height or width.
    """
    height, width = coarser_shape(x.shape, scale)
    x_rows, x_columns = x.shape[-2:]
    rows = psf.operator(x_rows, scale)
    kind = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(np.float32)
    # Strips end at block boundaries of the operator, so every product equals that of the whole array.
    step = BLOCK_ROWS * max(_LEAST_BLOCKS, round(max(x.chunks[-2]) / scale / BLOCK_ROWS))

    def reduce(block: NDArray[Any], outputs: slice, block_info: Any = None) -> NDArray[Any]:
        # Not `rows` from the closure: a Dask worker would receive a copy with each block.
        low = apply_both(block, psf.operator(x_rows, scale), psf.operator(x_columns, scale), outputs=outputs)
        place = tuple(start for start, _ in block_info[0]["array-location"])
        check(low, place)
        return low

    strips = []
    for start in range(0, height, step):
        outputs = slice(start, min(start + step, height))
        window = x[..., rows.window(outputs), :].rechunk({x.ndim - 2: -1, x.ndim - 1: -1})
        chunks = (*window.chunks[:-2], (outputs.stop - outputs.start,), (width,))
        meta = np.empty((0,) * x.ndim, dtype=kind)
        strips.append(window.map_blocks(reduce, outputs=outputs, chunks=chunks, dtype=kind, meta=meta))
    return da.concatenate(strips, axis=-2)


def add_noise_lazy(low: LazyArray, *, snr_db: float, seed: int) -> LazyArray:
    """Add noise to each band of (C, h, w) lazily, as :func:`hsipipe.degradation.noise.add_noise` does.

    The noise depends on the power of the whole band, so memory holds the LR cube (s*s times smaller than the scene).
    """
    low = low.rechunk({0: -1, 2: -1})
    power = da.mean(da.square(low.astype(np.float64)), axis=(1, 2), keepdims=True)

    def disturb(block: NDArray[Any], power: NDArray[np.float64], block_info: Any = None) -> NDArray[Any]:
        first_row = block_info[0]["array-location"][1][0]
        return add_noise(block, snr_db=snr_db, power=power.ravel(), seed=(seed,), first_row=first_row)

    meta = np.empty((0, 0, 0), dtype=low.dtype)
    return low.map_blocks(disturb, power, dtype=low.dtype, meta=meta)
