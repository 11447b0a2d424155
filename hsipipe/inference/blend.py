"""Blend a scene, or a box of it, from tiles that overlap."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import bicubic_operator
from hsipipe.errors import DataError
from hsipipe.inference.plan import BLOCK, Box, Plan
from hsipipe.methods.super_resolver import ComponentResolver, SampleResolver, SuperResolver

_REACH = 2
"""LR pixels on each side of a pixel that its bicubic interpolation depends on."""


class Blending(Protocol):
    """Collects the tiles of a box."""

    def add(self, tile: Box, images: Sequence[np.ndarray]) -> None:
        """Add what the model returned for a tile."""

    def result(self) -> list[np.ndarray]:
        """Return the images (C, H, W) of the box."""


def in_components(model: SuperResolver) -> TypeGuard[ComponentResolver]:
    """Return True for a model whose tiles are blended before they are expanded to bands."""
    return isinstance(model, ComponentResolver) and not isinstance(model, SampleResolver)


def margin_of(model: SuperResolver) -> int:
    """Return the margin of a :class:`Plan` for a model in LR pixels."""
    return _REACH if in_components(model) else 0


def blend_of(model: SuperResolver, box: Box, plan: Plan, *, bands: int, count: int) -> Blending:
    """Begin a box.

    Args:
        model: The model that predicts the tiles.
        box: The box.
        plan: Tiles of the scene, with the margin of :func:`margin_of`.
        bands: Bands C of an image.
        count: Number of images.
    """
    if in_components(model):
        return ComponentBlend(box, plan, spectra=model.spectra, scale=model.scale)
    return Blend(box, plan, bands=bands, count=count, scale=model.scale)


class Blend:
    """The images of a box of a scene, blended from tiles.

    Each box gets its tiles in the order of :meth:`Plan.tiles_of`, so that its values do not depend on other boxes.

    Args:
        box: The box.
        plan: Tiles of the scene.
        bands: Bands C of an image.
        count: Number of images.
        scale: Ratio of the pixel sizes s.
    """

    def __init__(self, box: Box, plan: Plan, *, bands: int, count: int, scale: int) -> None:
        self._box, self._plan, self._scale = box, plan, scale
        size = ((box.y1 - box.y0) * scale, (box.x1 - box.x0) * scale)
        self._totals = [np.zeros((bands, *size), np.float32) for _ in range(count)]
        self._weight = np.zeros(size, np.float32)

    def add(self, tile: Box, images: Sequence[np.ndarray]) -> None:
        """Add the images of a tile; pixels outside of the box are skipped.

        Raises:
            DataError: An image does not have the size of the tile.
        """
        expected = (len(self._totals[0]), (tile.y1 - tile.y0) * self._scale, (tile.x1 - tile.x0) * self._scale)
        for (image,) in images:
            if image.shape != expected:
                raise DataError(f"Got a prediction of shape {image.shape} for a tile, expected {expected} (C, H, W).")
        both = self._box.overlap(tile)
        if both is None:
            return
        inside = both.slices(scale=self._scale, origin=(self._box.y0, self._box.x0))
        part = both.slices(scale=self._scale, origin=(tile.y0, tile.x0))
        ramp = self._plan.ramp(tile, scale=self._scale)[part[1:]]
        for total, (image,) in zip(self._totals, images, strict=True):
            # Band by band: weighted at once, a scene in one tile would need the memory of one more image.
            for added, band in zip(total[inside], image[part], strict=True):
                added += band * ramp
        self._weight[inside[1:]] += ramp

    def result(self) -> list[np.ndarray]:
        """Return the images (C, H, W) float32; nothing can be added after that."""
        for total in self._totals:
            total /= self._weight
        return self._totals


class ComponentBlend:
    """The image of a box of a scene from tiles in components, which are blended and then expanded to bands.

    Args:
        box: The box; it begins with a whole block of the scene.
        plan: Tiles of the scene.
        spectra: Spectra (K, C) of the components.
        scale: Ratio of the pixel sizes s.
    """

    def __init__(self, box: Box, plan: Plan, *, spectra: NDArray[np.float32], scale: int) -> None:
        self._box, self._plan, self._spectra, self._scale = box, plan, spectra, scale
        self._around = box.grown(_REACH, plan.scene)
        self._low = Blend(self._around, plan, bands=spectra.shape[1], count=1, scale=1)
        self._fine = Blend(box, plan, bands=len(spectra), count=1, scale=scale)

    def add(self, tile: Box, images: Sequence[np.ndarray]) -> None:
        """Add the LR image (1, C, h, w) and the components (1, K, H, W) of a tile."""
        low, fine = images
        self._low.add(tile, [low])
        self._fine.add(tile, [fine])

    def result(self) -> list[np.ndarray]:
        """Return the image (C, H, W) float32; nothing can be added after that.

        Blocks of the same place in the scene are computed from the same pixels by products of the same sizes, so they
        have the same bits in every box.
        """
        (low,), (fine,) = self._low.result(), self._fine.result()
        size = BLOCK * self._scale
        rows, columns = (
            bicubic_operator(n, n * self._scale).blocks(size, np.float32) for n in (self._plan.height, self._plan.width)
        )
        bands, components = np.ascontiguousarray(self._spectra.T), len(self._spectra)
        image = np.empty((len(bands), *fine.shape[1:]), np.float32)
        for y in range(self._box.y0, self._box.y1, BLOCK):
            row = rows[y // BLOCK]
            strip = low[:, row.low - self._around.y0 : row.high - self._around.y0]
            for x in range(self._box.x0, self._box.x1, BLOCK):
                column = columns[x // BLOCK]
                seen = strip[:, :, column.low - self._around.x0 : column.high - self._around.x0]
                narrow = seen.reshape(-1, seen.shape[2]) @ column.matrix.T
                block = np.matmul(row.matrix, narrow.reshape(*seen.shape[:2], -1))
                place: Any = Box(row.start, row.stop, column.start, column.stop).slices(
                    origin=(self._box.y0 * self._scale, self._box.x0 * self._scale)
                )
                block += (bands @ fine[place].reshape(components, -1)).reshape(block.shape)
                image[place] = block
        return [image]
