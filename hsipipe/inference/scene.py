"""Whole scenes through a super-resolver, in overlapping tiles that blend without a seam."""

from itertools import product

import numpy as np

from hsipipe.errors import ModelInputError
from hsipipe.models.base import SuperResolver
from hsipipe.progress import progress


def predict_scene(model: SuperResolver, lr: np.ndarray, *, tile: int, overlap: int) -> np.ndarray:
    """Super-resolve a scene of any size.

    Neighbouring tiles share `2 * overlap` LR pixels, in which their weights ramp linearly, so that each
    pixel is a convex mix and a tile's border, where it lacks context, weighs least.

    Args:
        model: The super-resolver.
        lr: (C, h, w) float32.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile's core.

    Returns:
        (C, H, W) float32.

    Raises:
        ModelInputError: The scene is not (C, h, w), or the model refuses it.
    """
    if lr.ndim != 3:
        raise ModelInputError(f"A scene has the axes (band, y, x), got {lr.ndim} of them: {lr.shape}.")
    scale = model.scale
    height, width = lr.shape[1:]
    rows, columns = (_tiles(n, tile=tile, overlap=overlap) for n in (height, width))
    total = np.zeros((lr.shape[0], height * scale, width * scale), np.float32)
    weight = np.zeros((height * scale, width * scale), np.float32)
    with progress("predict", len(rows) * len(columns)) as advance:
        for (y0, y1), (x0, x1) in product(rows, columns):
            piece = np.ascontiguousarray(lr[:, y0:y1, x0:x1], dtype=np.float32)
            sr = model.predict(piece[None], origin=(y0, x0))[0]
            ramp = np.outer(
                _ramp(y0, y1, n=height, overlap=overlap, scale=scale),
                _ramp(x0, x1, n=width, overlap=overlap, scale=scale),
            )
            window = np.s_[y0 * scale : y1 * scale, x0 * scale : x1 * scale]
            total[(slice(None), *window)] += sr * ramp
            weight[window] += ramp
            advance()
    total /= weight
    return total


def _tiles(n: int, *, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Intervals of length min(tile, n) that cover ``range(n)``; the last one is shifted back to end at n."""
    if n <= tile:
        return [(0, n)]
    step = tile - 2 * overlap
    starts = [*range(0, n - tile, step), n - tile]
    return [(start, start + tile) for start in starts]


def _ramp(start: int, stop: int, *, n: int, overlap: int, scale: int) -> np.ndarray:
    """Weights of a tile along one axis in HR pixels: rising over 2 * overlap LR pixels, flat at the scene's edge."""
    length, rise = (stop - start) * scale, 2 * overlap * scale
    position = np.arange(length) + 0.5
    weights = np.ones(length)
    if start > 0 and rise:
        weights = np.minimum(weights, position / rise)
    if stop < n and rise:
        weights = np.minimum(weights, (length - position) / rise)
    return weights.astype(np.float32)
