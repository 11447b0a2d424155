"""A scene is known by few pixels with the same least squares, and any part of it is sharpened as in the whole."""

from functools import partial

import numpy as np
import pytest
import torch

from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import detail_moments
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.fusion import scene_pixels as module
from hsipipe.methods.fusion.scene_pixels import scene_pixels
from hsipipe.methods.gsa import Gsa
from hsipipe.methods.mtf_glp import MtfGlp
from hsipipe.methods.mtf_glp_hpm import MtfGlpHpm
from hsipipe.methods.sfim import Sfim
from hsipipe.methods.spectralift import Spectralift

SCALE = 4
PSFS = [Psf(), Psf("average"), Psf("gaussian", mtf=0.3), Psf("gaussian", sigma=1.7, size=9, phase=1)]


def pair(height, width, *, bands=6, msi_bands=3):
    rng = np.random.default_rng(0)
    y, x = np.indices((height * SCALE, width * SCALE)) / 5
    waves = np.stack([np.sin(x * k + y / k) for k in range(1, 5)])
    mixed = rng.random((bands, 4)) @ waves.reshape(4, -1)
    hr = (0.5 + 0.1 * mixed + 0.01 * rng.standard_normal(mixed.shape)).astype(np.float32)
    hr = hr.reshape(bands, *y.shape)
    response = rng.dirichlet(np.ones(bands), msi_bands).astype(np.float32)
    msi = np.einsum("kc,chw->khw", response, hr)
    return Psf().downsample(hr, SCALE), np.ascontiguousarray(msi)


@pytest.mark.parametrize("psf", PSFS)
def test_few_pixels_have_the_statistics_of_all(monkeypatch, psf):
    lr, msi = pair(37, 23)
    monkeypatch.setattr(module, "_STRIP_BYTES", 4 * 6 * 23 * 8)
    found = scene_pixels(lr, msi, scale=SCALE, psf=psf)
    spectra, low = (image.reshape(len(image), -1).astype(np.float64) for image in (lr, psf.downsample(msi, SCALE)))
    assert found.count == spectra.shape[1] > found.spectra.shape[1]
    np.testing.assert_allclose(found.mean(found.spectra)[:, 0], spectra.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.moments(found.centred(found.low)), np.cov(low, bias=True), rtol=1e-5, atol=1e-9)
    expected = np.linalg.lstsq(low.T, spectra.T, rcond=None)[0]
    # Rounding is relative to the largest coefficient, of about 3.
    got = np.linalg.lstsq(found.low.T, found.spectra.T, rcond=None)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.detail, detail_moments(torch.from_numpy(lr)[None])[0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("method", [Sfim, MtfGlp, MtfGlpHpm, Gsa, partial(Spectralift, steps=60)])
@pytest.mark.parametrize("psf", PSFS)
def test_tiles_with_context_are_the_whole(method, psf):
    lr, msi = pair(40, 33)
    model = method(SCALE, psf)
    whole = model.predict(lr[None], msi=msi[None])[0]
    tiled = predict_scene(model, lr, tile=9, overlap=1, msi=msi)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
