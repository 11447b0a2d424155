"""SpectraLift: few pixels of a scene fit a network of single pixels, which finds more than a linear regression."""

import numpy as np
import pytest

from hsipipe.degradation.psf import Psf
from hsipipe.methods import spectralift as module
from hsipipe.methods.fusion import sampled_pixels as sampling
from hsipipe.methods.fusion.pixel_network import apply_pixels, fit_pixels
from hsipipe.methods.fusion.sampled_pixels import sampled_pixels
from hsipipe.methods.spectralift import Spectralift

SCALE, PSF = 4, Psf("average")
QUICK = {"width": 32, "layers": 2, "steps": 300, "seed": 0}


def curved(edge):
    """A smooth scene whose HSI bands are curved functions of the MSI band, and both images of it."""
    y, x = np.mgrid[:edge, :edge] / edge
    brightness = 0.5 + 0.4 * np.sin(5 * x + 3 * y**2)
    hr = np.stack([brightness, brightness**2, brightness**3]).astype(np.float32)
    return hr, PSF.downsample(hr, SCALE), hr[:1]


def test_it_finds_what_a_linear_regression_misses():
    hr, lr, msi = curved(64)
    response = np.array([[1.0, 0.0, 0.0]])
    linear, network = (
        Spectralift(SCALE, PSF, response, width=32, steps=steps).predict(lr[None], msi=msi[None])[0]
        for steps in (1, 300)
    )
    assert np.square(network - hr).mean() < 0.2 * np.square(linear - hr).mean()


def test_the_same_seed_gives_the_same_bits_and_leaves_other_draws_alone():
    _, lr, msi = curved(32)
    one, two, other = (
        Spectralift(SCALE, PSF, steps=60, seed=seed).predict(lr[None], msi=msi[None]) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_fit_that_is_worse_on_held_out_pixels_is_not_taken():
    """Of targets without any relation to the inputs, nothing is learned."""
    rng = np.random.default_rng(0)
    values, targets = (rng.normal(size=(400, n)).astype(np.float32) for n in (3, 2))
    network = fit_pixels(values, targets, **QUICK)
    learned = fit_pixels(values, np.abs(values[:, :2]), **QUICK)
    assert np.abs(apply_pixels(network, values)).mean() < 0.3
    assert np.abs(apply_pixels(learned, values) - np.abs(values[:, :2])).mean() < 0.3


@pytest.mark.parametrize("most", [50, 1000, 10_000])
def test_pixels_are_sampled_by_strips(monkeypatch, most):
    _, lr, msi = curved(160)
    # LR pixels by number, so that a sample shows its place.
    lr = np.arange(40 * 40, dtype=np.float32).reshape(1, 40, 40)
    whole = sampled_pixels(lr, msi, scale=SCALE, psf=PSF, most=most, seed=0)
    monkeypatch.setattr(sampling, "_STRIP_BYTES", 1)
    strips = sampled_pixels(lr, msi, scale=SCALE, psf=PSF, most=most, seed=0)
    for one, other in zip(whole, strips, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    places = whole[0][0].astype(int)
    assert len(places) == min(most, 1600)
    assert (np.diff(places) > 0).all()
    assert places[0] < 1600 / len(places) <= 1600 - places[-1] + 1600 / len(places)
    np.testing.assert_allclose(whole[1], PSF.downsample(msi, SCALE).reshape(1, -1)[:, places], rtol=1e-6)


def test_a_large_scene_is_fitted_to_a_bounded_number_of_pixels(monkeypatch):
    _, lr, msi = curved(96)
    seen = []
    monkeypatch.setattr(module, "_PIXELS", 100)
    monkeypatch.setattr(module, "fit_pixels", lambda values, targets, **sizes: seen.append(len(values)) or _zero())
    Spectralift(SCALE, PSF).fit_scene(lr, msi)
    assert seen == [100]


def _zero():
    rng = np.random.default_rng(0)
    return fit_pixels(rng.random((9, 1), np.float32), rng.random((9, 3), np.float32), **{**QUICK, "steps": 1})
