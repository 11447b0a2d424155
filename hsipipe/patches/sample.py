"""Choose patches and pixels for statistics: evenly spread, and the same for the same store and seed."""

import numpy as np
import torch
from torch import Tensor

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.patches.draws import generator_for

PATCHES = 16
"""Number of patches of a small sample, such as the validation sample that chooses a checkpoint."""
_PIXEL_PATCHES, _PIXELS = 64, 20_000


def spread(count: int, wanted: int) -> np.ndarray:
    """Return at most `wanted` indices, evenly spread over ``range(count)``."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))


def training_pixels(train: PatchArrays, *, seed: int) -> Tensor:
    """Read pixels (M, C) of evenly spread training patches."""
    patches = torch.from_numpy(train.read(spread(len(train), _PIXEL_PATCHES))["hr"])
    pixels = patches.permute(0, 2, 3, 1).reshape(-1, patches.shape[1])
    chosen = torch.randperm(len(pixels), generator=generator_for(seed, 0))[:_PIXELS]
    return pixels[chosen]
