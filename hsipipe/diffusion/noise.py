"""Noise that belongs to a place in the scene, so that tiles agree where they overlap."""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 64
"""Edge in pixels of the blocks that are drawn at once."""

Noise = Callable[[int], Tensor]
"""The k-th noise image of a sampling: 0 starts it, the others are for samplers that add noise on the way."""


def scene_noise(channels: int, *, window: tuple[int, int, int, int], seed: int, draw: int) -> Tensor:
    """Standard normal noise of a window of an endless scene, (channels, height, width).

    Two windows have the same noise where they overlap.

    Args:
        channels: Values for each pixel.
        window: First row, first column, height, width in pixels.
        seed: Names the scene's noise.
        draw: Independent images of one seed: those of one sampling, and of other samples of the same scene.
    """
    y0, x0, height, width = window
    rows = [
        torch.cat([_block(channels, y, x, seed=seed, draw=draw) for x in _blocks(x0, width)], dim=2)
        for y in _blocks(y0, height)
    ]
    top, left = y0 % BLOCK, x0 % BLOCK
    return torch.cat(rows, dim=1)[:, top : top + height, left : left + width]


def noise_of_sample(like: Tensor, *, origin: tuple[int, int], seed: int, number: int, draws: int) -> Noise:
    """The noise images of one sample of a batch, the same for each of its images: that of their place in the scene.

    So a prediction depends neither on its neighbours in the batch nor on how a scene was cut.

    Args:
        like: Gives shape (B, ..., H, W), dtype and device.
        origin: Row and column of the images in their scene.
        seed: Names the scene's noise.
        number: Which of the independent samples, from 0.
        draws: More than any sample draws, so that no two share an image.
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
