"""The degradation of a Dask array, block by block: what is in memory are some strips, not the scene.

Each strip of LR rows is computed out of the HR rows that it depends on, those of its neighbours included, so
no seam shows.
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

# A thinner strip would spend most of its time on the rows that it shares with its neighbours.
_LEAST_BLOCKS = 2


def downsample_lazy(
    x: LazyArray, scale: int, *, psf: Psf, check: Callable[[NDArray[Any], tuple[int, ...]], None]
) -> LazyArray:
    """Reduce (..., H, W) to (..., H/s, W/s), lazily; strips are as high as the chunks of `x`.

    Args:
        x: Chunked in any way.
        scale: Ratio s.
        psf: Of the LR sensor.
        check: Called with each block of the result and its place in the result when that is computed.

    Raises:
        DataError: The scale does not divide height or width.
    """
    height, width = coarser_shape(x.shape, scale)
    x_rows, x_columns = x.shape[-2:]
    rows = psf.operator(x_rows, scale)
    kind = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(np.float32)
    # Strips end between two blocks of the whole operator, so every product is that of the whole array.
    step = BLOCK_ROWS * max(_LEAST_BLOCKS, round(max(x.chunks[-2]) / scale / BLOCK_ROWS))

    def reduce(block: NDArray[Any], outputs: slice, block_info: Any = None) -> NDArray[Any]:
        # Not `rows` of outside: a worker of a cluster would get a new copy with each block.
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
    """Add noise to each band of (C, h, w), lazily, as :func:`hsipipe.degradation.noise.add_noise` does.

    The power of a band is known when all of it is, so the LR cube (s*s times smaller than the scene) is held.
    """
    low = low.rechunk({0: -1, 2: -1})
    power = da.mean(da.square(low.astype(np.float64)), axis=(1, 2), keepdims=True)

    def disturb(block: NDArray[Any], power: NDArray[np.float64], block_info: Any = None) -> NDArray[Any]:
        first_row = block_info[0]["array-location"][1][0]
        return add_noise(block, snr_db=snr_db, power=power.ravel(), seed=(seed,), first_row=first_row)

    meta = np.empty((0, 0, 0), dtype=low.dtype)
    return low.map_blocks(disturb, power, dtype=low.dtype, meta=meta)
