import numpy as np
import pytest

from hsipipe.degradation.psf import Psf
from hsipipe.methods.catalogue import methods
from hsipipe.params import parse_group
from hsipipe.sharpen import candidates, fit
from hsipipe.sharpen.reduced import reduce_scene


def made_scene(bands=6, height=48, width=64, seed=0):
    """Fields with sharp borders, (C, H, W) in [0, 1]: three spectra in blocks of some pixels."""
    rng = np.random.default_rng(seed)
    spectra = rng.uniform(0.1, 0.9, (5, bands)).astype(np.float32)
    fields = rng.integers(0, 5, (height // 4 + 1, width // 4 + 1))
    rows, columns = np.arange(height), np.arange(width)
    kinds = fields[(rows[:, None] + columns // 7) % height // 4, (columns[None] + rows[:, None] // 5) % width // 4]
    return Psf("gaussian", sigma=0.7).downsample(np.ascontiguousarray(spectra[kinds].transpose(2, 0, 1)), 1)


@pytest.fixture(scope="session")
def make_scene():
    return made_scene


@pytest.fixture(scope="session")
def make_reduced():
    """A function that degrades a scene by 2, with pixels without data where a mask says so."""

    def make(values=None, valid=None, **sizes):
        values = made_scene(**sizes) if values is None else values
        valid = np.ones(values.shape[1:], bool) if valid is None else valid
        return reduce_scene(values, valid, scale=2, psf=Psf("gaussian", mtf=0.3))

    return make


@pytest.fixture
def tiny(monkeypatch):
    """Networks of a few features, and trainings of few steps, whose number can be changed."""
    short = {"steps": 6}

    def settings(name):
        tree = dict(candidates._tree()[name])
        tree |= {"width": 8, "blocks": 1}
        tree["optimizer"] = tree["optimizer"] | {**short, "batch": 2, "warmup": 1, "ema": 0.0}
        return parse_group(methods()[name].Settings, tree, source="test")

    monkeypatch.setattr(fit, "network_settings", settings)
    monkeypatch.setattr(fit, "_LEAST_STEPS", 1)
    return short
