"""Super-resolve whole scenes in overlapping tiles that are blended without seams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np

from hsipipe.errors import ModelInputError
from hsipipe.methods.super_resolver import SampleResolver, SceneResolver, SuperResolver, check_input, check_msi
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

    Neighbouring tiles share `2 * overlap` LR pixels, in which their weights ramp linearly. Each pixel is a convex
    combination, in which the border of a tile, which lacks context, has the smallest weight.

    Args:
        model: Super-resolver; one with `WHOLE_SCENE` gets the scene as one tile.
        lr: LR-HSI (C, h, w) float32.
        tile: Edge of a tile in LR pixels.
        overlap: Context on each side of the core of a tile in LR pixels.
        msi: HR-MSI (c, H, W) float32, for a fusion model.
        before_tile: Called before each tile; an error that it raises ends the prediction.

    Returns:
        Prediction (C, H, W) float32.

    Raises:
        ModelInputError: The scene is not (C, h, w), or the model refuses it.
    """
    bound = _bind(model, lr, msi)

    def predict(piece: _Piece) -> Sequence[np.ndarray]:
        if before_tile is not None:
            before_tile()
        return [bound.predict(piece.lr, **piece.options())]

    if getattr(model, "WHOLE_SCENE", False):
        tile = max(tile, *lr.shape[1:])
    (scene,) = _blend(predict, lr, msi, count=1, scale=model.scale, tile=tile, overlap=overlap)
    return scene


def predict_scene_with_spread(
    model: SampleResolver,
    lr: np.ndarray,
    *,
    count: int,
    tile: int,
    overlap: int,
    msi: np.ndarray | None = None,
    before_tile: Callable[[], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Super-resolve a scene and compute the standard deviation of the model's samples.

    Standard deviations are blended with the weights of the predictions. The deviation of a sample sum_i w_i X_i is at
    most sum_i w_i std(X_i), for any correlation of the tiles (triangle inequality), with equality where the samples of
    the tiles agree. They nearly agree, since the noise of sample k depends only on the position in the scene. The
    result is thus exact outside the overlaps and never too small inside. Blended variances would be larger, and weights
    w_i^2 hold only for independent tiles and would show the grid of the tiles.

    Args:
        model: Super-resolver.
        lr: LR-HSI (C, h, w) float32.
        count: Number K of samples.
        tile: Edge of a tile in LR pixels.
        overlap: Context on each side of the core of a tile in LR pixels.
        msi: HR-MSI (c, H, W) float32, for a fusion model.
        before_tile: Called before each tile; an error that it raises ends the prediction.

    Returns:
        Prediction and standard deviation, each (C, H, W) float32.

    Raises:
        ModelInputError: The scene is not (C, h, w), or the model refuses it.
    """
    bound = cast(SampleResolver, _bind(model, lr, msi))

    def predict(piece: _Piece) -> Sequence[np.ndarray]:
        if before_tile is not None:
            before_tile()
        return bound.predict_with_spread(piece.lr, count=count, **piece.options())

    prediction, std = _blend(predict, lr, msi, count=2, scale=model.scale, tile=tile, overlap=overlap)
    return prediction, std


def draw_scene(
    model: SampleResolver, lr: np.ndarray, *, count: int, tile: int, overlap: int, msi: np.ndarray | None = None
) -> list[np.ndarray]:
    """Draw samples of a whole scene, all kept in memory.

    Args:
        model: Super-resolver.
        lr: LR-HSI (C, h, w) float32.
        count: Number K of samples.
        tile: Edge of a tile in LR pixels.
        overlap: Context on each side of the core of a tile in LR pixels.
        msi: HR-MSI (c, H, W) float32, for a fusion model.

    Returns:
        K samples (C, H, W) float32.

    Raises:
        ModelInputError: The scene is not (C, h, w), or the model refuses it.
    """
    bound = cast(SampleResolver, _bind(model, lr, msi))

    def predict(piece: _Piece) -> Sequence[np.ndarray]:
        return list(bound.draw(piece.lr, count=count, **piece.options()))

    return _blend(predict, lr, msi, count=count, scale=model.scale, tile=tile, overlap=overlap)


@dataclass(frozen=True)
class _Piece:
    """Tile as a batch of one: LR-HSI (1, C, h, w), HR-MSI (1, c, H, W) or None, origin (row, column) in LR pixels."""

    lr: np.ndarray
    msi: np.ndarray | None
    origin: tuple[int, int]

    def options(self) -> dict[str, Any]:
        """Return the arguments of the model in addition to the LR-HSI."""
        return {"origin": self.origin} | ({} if self.msi is None else {"msi": self.msi})


def _bind(model: SuperResolver, lr: np.ndarray, msi: np.ndarray | None) -> SuperResolver:
    """Bind a model that needs statistics of the whole scene to it."""
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
    """Blend `count` images of a scene from those that `predict` returns for each tile, each a batch of one."""
    if lr.ndim != 3:
        raise ModelInputError(f"A scene has the axes (band, y, x), got {lr.ndim} axes: {lr.shape}.")
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
    """Compute intervals of length min(tile, n) that cover ``range(n)``; the last one is shifted to end at n."""
    if n <= tile:
        return [(0, n)]
    step = tile - 2 * overlap
    starts = [*range(0, n - tile, step), n - tile]
    return [(start, start + tile) for start in starts]


def _ramp(start: int, stop: int, *, n: int, overlap: int, scale: int) -> np.ndarray:
    """Compute the weights of a tile along one axis in HR pixels: ramps of 2 * overlap LR pixels, flat at the edges."""
    length, rise = (stop - start) * scale, 2 * overlap * scale
    position = np.arange(length) + 0.5
    weights = np.ones(length)
    if start > 0 and rise:
        weights = np.minimum(weights, position / rise)
    if stop < n and rise:
        weights = np.minimum(weights, (length - position) / rise)
    return weights.astype(np.float32)
