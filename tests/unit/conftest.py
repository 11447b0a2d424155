"""Fixtures of more than one part of the library."""

import numpy as np
import pytest
from PIL import Image

from hsipipe.params import Params, load_params


@pytest.fixture(scope="session")
def make_params(repository):
    """A group of params.yaml as it is in the repository, with changes: ``make_params("split", by="scene")``."""
    defaults = load_params(repository / "params.yaml").model_dump()

    def merged(tree, changes):
        nested = {key: merged(tree[key], value) for key, value in changes.items() if isinstance(tree.get(key), dict)}
        return {**tree, **changes, **nested}

    def make(group, **changes):
        return Params.model_fields[group].annotation.model_validate(merged(defaults[group], changes))

    return make


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
