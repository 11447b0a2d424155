"""Super-resolve whole scenes in overlapping tiles that are blended without seams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from hsipipe.errors import ModelInputError
from hsipipe.inference.blend import Blending, blend_of, in_components, margin_of
from hsipipe.inference.plan import Box, Plan, shard_shape
from hsipipe.inference.same_bits import same_bits
from hsipipe.methods.super_resolver import (
    SampleResolver,
    SceneImage,
    SceneResolver,
    SuperResolver,
    check_input,
    check_msi,
)
from hsipipe.progress import progress

_OPEN_BYTES = 256 << 20
"""Size of the shards that are predicted side by side; two columns of them predict the tiles between them twice."""


@same_bits()
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
    if getattr(model, "WHOLE_SCENE", False):
        tile = max(tile, *lr.shape[1:])
    place: dict[str, Any] = {"tile": tile, "overlap": overlap, "before_tile": before_tile}
    (scene,) = _blend(bound, predict_tile(bound), lr, msi, count=1, **place)
    return scene


@same_bits()
def predict_scene_into(
    out: Any,
    model: SuperResolver,
    lr: SceneImage,
    *,
    tile: int,
    overlap: int,
    msi: SceneImage | None = None,
    limits: tuple[float, float],
) -> None:
    """Super-resolve a scene that is read and written by slices; the values are those of :func:`predict_scene`.

    Args:
        out: Gets the prediction (C, H, W), clipped, shard by shard.
        model: Super-resolver that predicts in tiles.
        lr: LR-HSI (C, h, w).
        tile: Edge of a tile in LR pixels.
        overlap: Context on each side of the core of a tile in LR pixels.
        msi: HR-MSI (c, H, W), for a fusion model.
        limits: Range to which the values are clipped.

    Raises:
        ModelInputError: The model refuses the scene.
    """
    (bands, height, width), scale = lr.shape, model.scale
    bound = model.for_scene(lr, msi) if isinstance(model, SceneResolver) and msi is not None else model
    shape = shard_shape(bands, height, width, scale=scale)
    plan = Plan(height, width, tile, overlap, shape, margin_of(bound))
    predict, context = predict_tile(bound), context_of(bound)
    row_bytes = 4 * bands * scale**2 * plan.rows_open() * (plan.shard or (0, width))[1]
    steps = list(plan.steps(plan.shards, side_by_side=max(1, _OPEN_BYTES // row_bytes)))
    blends: dict[Box, Blending] = {}
    with progress("predict", sum(len(step.tiles) for step in steps)) as advance:
        for step in steps:
            box = step.window.grown(context, plan.scene)
            fine = None if msi is None else msi[box.slices(scale=scale)]
            window = Window(box, lr[box.slices()], fine, scale)
            for place in step.tiles:
                images = predict(window.piece(place, context=context))
                for shard in step.shards:
                    if shard not in blends:
                        blends[shard] = blend_of(bound, shard, plan, bands=bands, count=1)
                    blends[shard].add(place, images)
                advance()
            for shard in step.done:
                (image,) = blends.pop(shard).result()
                out[shard.slices(scale=scale)] = image.clip(*limits, out=image)


@same_bits()
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
    place: dict[str, Any] = {"tile": tile, "overlap": overlap, "before_tile": before_tile}
    prediction, std = _blend(bound, predict_tile_with_spread(bound, count), lr, msi, count=2, **place)
    return prediction, std


@same_bits()
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

    def predict(piece: Piece) -> Sequence[np.ndarray]:
        return [image[piece.inside] for image in bound.draw(piece.lr, count=count, **piece.options())]

    return _blend(bound, predict, lr, msi, count=count, tile=tile, overlap=overlap)


def _bind(model: SuperResolver, lr: np.ndarray, msi: np.ndarray | None) -> SuperResolver:
    """Bind a model that needs statistics of the whole scene to it."""
    if not isinstance(model, SceneResolver):
        return model
    whole = np.ascontiguousarray(lr, dtype=np.float32)
    check_input(whole[None], bands=model.bands)
    fine = None if msi is None else np.ascontiguousarray(msi, dtype=np.float32)[None]
    return model.for_scene(whole, check_msi(fine, whole[None], scale=model.scale, bands=model.msi_bands)[0])


@dataclass(frozen=True)
class Piece:
    """A tile with its context as a batch of one.

    Attributes:
        lr: LR-HSI (1, C, h, w).
        msi: HR-MSI (1, c, H, W) or None.
        origin: Row and column of its first pixel in LR pixels.
        inside: Index of the tile in the images of the piece.
    """

    lr: np.ndarray
    msi: np.ndarray | None
    origin: tuple[int, int]
    inside: tuple[Any, ...]

    def options(self) -> dict[str, Any]:
        """Return the arguments of the model in addition to the LR-HSI."""
        return {"origin": self.origin} | ({} if self.msi is None else {"msi": self.msi})


@dataclass(frozen=True)
class Window:
    """A part of a scene in memory.

    Attributes:
        box: Its pixels.
        lr: Its LR-HSI (C, h, w).
        msi: Its HR-MSI (c, H, W) or None.
        scale: Ratio of the pixel sizes s.
    """

    box: Box
    lr: np.ndarray
    msi: np.ndarray | None
    scale: int

    def piece(self, tile: Box, *, context: int) -> Piece:
        """Cut a tile with `context` LR pixels around it, as far as the window has them."""
        around = tile.grown(context, self.box)
        origin = (self.box.y0, self.box.x0)
        lr = np.ascontiguousarray(self.lr[around.slices(origin=origin)], dtype=np.float32)[None]
        fine = None
        if self.msi is not None:
            chosen = around.slices(scale=self.scale, origin=origin)
            fine = np.ascontiguousarray(self.msi[chosen], dtype=np.float32)[None]
        inside = (slice(None), *tile.slices(scale=self.scale, origin=(around.y0, around.x0)))
        return Piece(lr, fine, (around.y0, around.x0), inside)


def context_of(model: SuperResolver) -> int:
    """Return how many LR pixels around a tile are predicted with it and cut off: 0, unless the model states it.

    With that context, the values of the tile are those of the whole scene.
    """
    return int(getattr(model, "context", 0))


Predict = Callable[[Piece], Sequence[np.ndarray]]
"""Returns the images of a tile, each a batch of one (1, C, H, W)."""


def predict_tile(model: SuperResolver) -> Predict:
    """Return the function that predicts a tile, in components if the model has some."""
    if in_components(model):
        return lambda piece: model.parts(piece.lr, **piece.options())
    return lambda piece: [model.predict(piece.lr, **piece.options())[piece.inside]]


def predict_tile_with_spread(model: SampleResolver, count: int) -> Predict:
    """Return the function that predicts a tile and the standard deviation of `count` samples."""
    return lambda piece: [
        image[piece.inside] for image in model.predict_with_spread(piece.lr, count=count, **piece.options())
    ]


def _blend(
    model: SuperResolver,
    predict: Predict,
    lr: np.ndarray,
    msi: np.ndarray | None,
    *,
    count: int,
    tile: int,
    overlap: int,
    before_tile: Callable[[], None] | None = None,
) -> list[np.ndarray]:
    """Blend `count` images of a scene from those that `predict` returns for each tile."""
    if lr.ndim != 3:
        raise ModelInputError(f"A scene has the axes (band, y, x), got {lr.ndim} axes: {lr.shape}.")
    bands, height, width = lr.shape
    plan = Plan(height, width, tile, overlap, margin=margin_of(model))
    window, context = Window(plan.scene, lr, msi, model.scale), context_of(model)
    tiles, blend = plan.tiles_of(plan.scene), blend_of(model, plan.scene, plan, bands=bands, count=count)
    with progress("predict", len(tiles)) as advance:
        for place in tiles:
            if before_tile is not None:
                before_tile()
            blend.add(place, predict(window.piece(place, context=context)))
            advance()
    return blend.result()
