"""Whole scenes through a super-resolver, in overlapping tiles that blend without a seam."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np

from hsipipe.errors import ModelInputError
from hsipipe.methods.super_resolver import SceneResolver, SpreadResolver, SuperResolver, check_input, check_msi
from hsipipe.progress import progress


def predict_scene(
    model: SuperResolver,
    lr: np.ndarray,
    *,
    tile: int,
    overlap: int,
    msi: np.ndarray | None = None,
    before_tile: Callable[[], None] | None = None,
) -> np.ndarray:
    """Super-resolve a scene of any size.

    Neighbouring tiles share `2 * overlap` LR pixels, in which their weights ramp linearly, so that each
    pixel is a convex mix and a tile's border, where it lacks context, weighs least.

    Args:
        model: The super-resolver.
        lr: (C, h, w) float32.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile's core.
        msi: HR-MSI (c, H, W) float32, for a model that fuses.
        before_tile: Called before each tile; what it raises ends the prediction.

    Returns:
        (C, H, W) float32.

    Raises:
        ModelInputError: The scene is not (C, h, w), or the model refuses it.
    """
    bound = _bind(model, lr, msi)

    def predict(piece: _Piece) -> Sequence[np.ndarray]:
        if before_tile is not None:
            before_tile()
        return [bound.predict(piece.lr, **piece.beside())]

    (scene,) = _blend(predict, lr, msi, count=1, scale=model.scale, tile=tile, overlap=overlap)
    return scene


def predict_scene_with_spread(
    model: SpreadResolver, lr: np.ndarray, *, tile: int, overlap: int, msi: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`predict_scene`, and with it the standard deviation of the model's samples.

    Deviations are mixed with the weights of the means. For samples sum_i w_i X_i of a mix, the deviation is at most
    sum_i w_i std(X_i), whatever the correlation of the tiles (the triangle inequality), and equal to it where the
    tiles' samples agree. They nearly do, since sample k has the same noise in all tiles, that of its place. So
    the result is exact outside the overlaps, and never too small inside. Mixed variances would be larger, and
    w_i^2 in place of w_i would be right for independent tiles alone: it would draw the grid of the tiles.

    Args:
        model: The super-resolver.
        lr: (C, h, w) float32.
        tile: Edge of a tile in LR pixels.
        overlap: LR pixels of context on each side of a tile's core.
        msi: HR-MSI (c, H, W) float32, for a model that fuses.

    Returns:
        Mean and standard deviation, each (C, H, W) float32.

    Raises:
        ModelInputError: The scene is not (C, h, w), or the model refuses it.
    """
    bound = cast(SpreadResolver, _bind(model, lr, msi))

    def predict(piece: _Piece) -> Sequence[np.ndarray]:
        return bound.predict_with_spread(piece.lr, **piece.beside())

    mean, std = _blend(predict, lr, msi, count=2, scale=model.scale, tile=tile, overlap=overlap)
    return mean, std


@dataclass(frozen=True)
class _Piece:
    """A tile as a batch of one: LR-HSI (1, C, h, w), its HR-MSI (1, c, H, W) or None, its LR row and column."""

    lr: np.ndarray
    msi: np.ndarray | None
    origin: tuple[int, int]

    def beside(self) -> dict[str, Any]:
        """What a model is told beside the LR-HSI."""
        return {"origin": self.origin} | ({} if self.msi is None else {"msi": self.msi})


def _bind(model: SuperResolver, lr: np.ndarray, msi: np.ndarray | None) -> SuperResolver:
    """The model with what it learns of the whole scene, if it does."""
    if not isinstance(model, SceneResolver):
        return model
    whole = np.ascontiguousarray(lr, dtype=np.float32)
    check_input(whole[None], bands=model.bands)
    fine = None if msi is None else np.ascontiguousarray(msi, dtype=np.float32)[None]
    return model.for_scene(whole, check_msi(fine, whole[None], scale=model.scale, bands=model.msi_bands)[0])


def _blend(
    predict: Callable[[_Piece], Sequence[np.ndarray]],
    lr: np.ndarray,
    msi: np.ndarray | None,
    *,
    count: int,
    scale: int,
    tile: int,
    overlap: int,
) -> list[np.ndarray]:
    """`count` images of a scene, of the batches of one that `predict` makes of each tile."""
    if lr.ndim != 3:
        raise ModelInputError(f"A scene has the axes (band, y, x), got {lr.ndim} of them: {lr.shape}.")
    height, width = lr.shape[1:]
    rows, columns = (_tiles(n, tile=tile, overlap=overlap) for n in (height, width))
    totals = [np.zeros((lr.shape[0], height * scale, width * scale), np.float32) for _ in range(count)]
    weight = np.zeros((height * scale, width * scale), np.float32)
    with progress("predict", len(rows) * len(columns)) as advance:
        for (y0, y1), (x0, x1) in product(rows, columns):
            piece = np.ascontiguousarray(lr[None, :, y0:y1, x0:x1], dtype=np.float32)
            ramp = np.outer(
                _ramp(y0, y1, n=height, overlap=overlap, scale=scale),
                _ramp(x0, x1, n=width, overlap=overlap, scale=scale),
            )
            window = np.s_[y0 * scale : y1 * scale, x0 * scale : x1 * scale]
            fine = None if msi is None else np.ascontiguousarray(msi[(None, slice(None), *window)], dtype=np.float32)
            for total, (image,) in zip(totals, predict(_Piece(piece, fine, (y0, x0))), strict=True):
                total[(slice(None), *window)] += image * ramp
            weight[window] += ramp
            advance()
    for total in totals:
        total /= weight
    return totals


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
