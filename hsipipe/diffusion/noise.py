"""Noise tied to the position in the scene, so that overlapping tiles have equal noise."""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 64
"""Edge in pixels of the blocks drawn at once."""

Noise = Callable[[int], Tensor]
"""The k-th noise image of a sampling: 0 is x_T, the others are for samplers that add noise at each step."""


def scene_noise(channels: int, *, window: tuple[int, int, int, int], seed: int, draw: int) -> Tensor:
    """Draw standard normal noise of a window of an unbounded scene, (channels, height, width).

    Two windows have equal noise where they overlap.

    Args:
        channels: Values per pixel.
        window: First row, first column, height and width in pixels.
        seed: Seed of the scene.
        draw: Index of the noise image; images of one seed are independent.
    """
    y0, x0, height, width = window
    rows = [
        torch.cat([_block(channels, y, x, seed=seed, draw=draw) for x in _blocks(x0, width)], dim=2)
        for y in _blocks(y0, height)
    ]
    top, left = y0 % BLOCK, x0 % BLOCK
    return torch.cat(rows, dim=1)[:, top : top + height, left : left + width]


def noise_of_sample(like: Tensor, *, origin: tuple[int, int], seed: int, number: int, draws: int) -> Noise:
    """Return the noise images of one sample, equal for all images of a batch and tied to their position in the scene.

    A prediction thus depends neither on the other images of the batch nor on the tiling.

    Args:
        like: Tensor with the shape (B, ..., H, W), dtype and device.
        origin: Row and column of the images in their scene.
        seed: Seed of the scene.
        number: Index of the independent sample, from 0.
        draws: Upper bound of the noise images per sample, so that no two samples share one.
    """
    height, width = like.shape[-2:]
    channels = like[0].numel() // (height * width)

    def noise(draw: int) -> Tensor:
        drawn = scene_noise(channels, window=(*origin, height, width), seed=seed, draw=draw + number * draws)
        return drawn.reshape(like.shape[1:]).to(like).expand_as(like)

    return noise


def _blocks(start: int, length: int) -> range:
    return range(start // BLOCK, (start + length - 1) // BLOCK + 1)


def _block(channels: int, y: int, x: int, *, seed: int, draw: int) -> Tensor:
    mixed = 0
    for part in (seed, draw, y, x):
        mixed = (mixed * 1_000_003 + part + 1) % (2**63 - 1)
    generator = torch.Generator().manual_seed(mixed)
    return torch.randn(channels, BLOCK, BLOCK, generator=generator)
