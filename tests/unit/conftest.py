"""Fixtures of more than one part of the library."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_scene():
    """Writes a scene of the CAVE layout and gives the values that a reader should find."""

    def write(folder, *, name=None, nested=False, size=(8, 12), eight_bit=False, seed=0):
        name = name or folder.name.removesuffix("_ms")
        place = folder / folder.name if nested else folder
        place.mkdir(parents=True)
        full = 255 if eight_bit else 65535
        values = np.random.default_rng(seed).integers(0, full + 1, size=(31, *size))
        for band, pixels in enumerate(values, start=1):
            if eight_bit:
                rgba = np.stack([pixels, pixels // 2, pixels // 3, np.full_like(pixels, 255)], axis=-1)
                image = Image.fromarray(rgba.astype(np.uint8), "RGBA")
            else:
                image = Image.fromarray(pixels.astype(np.uint16))
            image.save(place / f"{name}_ms_{band:02d}.png")
        return (values / full).astype(np.float32)

    return write
