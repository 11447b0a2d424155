"""Choose patches and pixels for statistics: evenly spread, and the same for the same store and seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsipipe.artifacts.no_data import VALID
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.patches.draws import generator_for

PATCHES = 16
"""Number of patches of a small sample, such as the validation sample that chooses a checkpoint."""
_PIXEL_PATCHES, _PIXELS = 64, 20_000


def spread(count: int, wanted: int) -> np.ndarray:
    """Return at most `wanted` indices, evenly spread over ``range(count)``."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def training_pixels(train: PatchArrays, *, seed: int) -> Tensor:
    """Read pixels (M, C) of evenly spread training patches, those with data."""
    patches = train.read(spread(len(train), _PIXEL_PATCHES))
    pixels = pixels_of(torch.from_numpy(patches["hr"]), mask_of(patches))
    chosen = torch.randperm(len(pixels), generator=generator_for(seed, 0))[:_PIXELS]
    return pixels[chosen]


def mask_of(patches: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_] | None:
    """Return the pixels (N, H, W) of patches that have data, or None where all have some."""
    return None if VALID not in patches else patches[VALID][:, 0] > 0


def pixels_of(images: Tensor, valid: NDArray[np.bool_] | None) -> Tensor:
    """Return the pixels (M, C) of images (N, C, H, W), those with data.

    Args:
        images: Images on the grid of `valid`.
        valid: True for data, (N, H, W); None: all.
    """
    pixels = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])
    return pixels if valid is None else pixels[torch.from_numpy(valid.ravel())]
