from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import ModelInputError, ParamsError
from hsipipe.evaluation.metrics import band_mse, mpsnr_db
from hsipipe.methods import spectralift
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.cnmf import Cnmf
from hsipipe.methods.fuse import Fuse
from hsipipe.methods.fusion.singular_vectors import singular_vectors
from hsipipe.methods.fusion_fast.guided_projection import GuidedProjection
from hsipipe.methods.gsa import Gsa
from hsipipe.methods.hysure import HySure
from hsipipe.methods.mapsmm import Mapsmm
from hsipipe.methods.mtf_glp import MtfGlp
from hsipipe.methods.mtf_glp_hpm import MtfGlpHpm
from hsipipe.methods.sfim import Sfim
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.methods.utv_td import UtvTd

CAVE = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cave"


@dataclass(frozen=True)
class Spectralift(spectralift.Spectralift):
    """With a fit of less than a second."""

    steps: int = 100


ALL = [Sfim, Gsa, MtfGlp, MtfGlpHpm, Fuse, Mapsmm, Cnmf, HySure, UtvTd, Spectralift, GuidedProjection]
every = pytest.mark.parametrize("model", ALL, ids=lambda model: model.__name__)


def scene(bands=10, size=(64, 48), rank=4, seed=0, *, light=0.6):
    """Patches of materials under uneven light, (C, H, W) float32."""
    rng = np.random.default_rng(seed)
    spectra = gaussian_filter(rng.uniform(0, 1, (bands, rank)), (1, 0))
    votes = np.stack([gaussian_filter(rng.uniform(0, 1, size), 4) for _ in range(rank)])
    light = 1 - light * rng.uniform(0, 1, size)
    return (spectra[:, votes.argmax(axis=0)] * light).astype(np.float32)


def response(bands=10, channels=3):
    centres = np.linspace(0, bands - 1, channels)[:, None]
    rows = np.exp(-0.5 * ((np.arange(bands) - centres) / 1.5) ** 2)
    return rows / rows.sum(axis=1, keepdims=True)


def observe(hr, scale=4, channels=3, psf=None):
    psf, matrix = psf or Psf("gaussian", sigma=scale / 2.35), response(len(hr), channels)
    return psf.downsample(hr, scale)[None], apply_response(matrix, hr)[None], psf, matrix


def quality(sr, hr):
    return mpsnr_db(band_mse(sr[0], hr))


@every
def test_it_is_a_super_resolver_of_any_sensor(model):
    resolver = model(4, Psf())
    assert isinstance(resolver, SuperResolver)
    assert (resolver.scale, resolver.bands, resolver.msi_bands, resolver.nfe) == (4, None, None, 0)
    assert resolver.name.replace("-", "") == model.__name__.lower()
    assert resolver == model(4, Psf(), response=response())


@every
@pytest.mark.parametrize("known", [True, False])
def test_it_clearly_beats_bicubic(model, known):
    hr = scene()
    lr, msi, psf, matrix = observe(hr)
    sr = model(4, psf, matrix if known else None).predict(lr, msi=msi)
    assert (sr.shape, sr.dtype) == ((1, *hr.shape), np.float32)
    assert quality(sr, hr) > quality(Bicubic(4).predict(lr), hr) + 8


@every
def test_each_image_is_a_scene_of_its_own(model):
    pairs = [observe(scene(size=(16, 16), seed=seed)) for seed in (0, 1)]
    lr, msi = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    resolver = model(4, pairs[0][2])
    both = resolver.predict(lr, msi=msi, origin=(3, 7))
    for i in (0, 1):
        assert np.array_equal(both[i], resolver.predict(lr[i : i + 1], msi=msi[i : i + 1])[0])


@every
@pytest.mark.parametrize(
    ("bands", "channels", "size", "scale", "psf"),
    [
        (5, 1, (15, 21), 3, Psf("average")),
        (31, 9, (10, 14), 2, Psf()),
        (2, 4, (35, 5), 5, Psf("gaussian", sigma=2)),
        (1, 1, (7, 7), 7, Psf("gaussian", mtf=0.3, phase=3)),
    ],
)
def test_any_bands_sizes_and_scales(model, bands, channels, size, scale, psf):
    lr, msi, psf, _ = observe(scene(bands, size), scale, channels, psf)
    sr = model(scale, psf).predict(lr, msi=msi)
    assert sr.shape == (1, bands, *size)
    assert np.isfinite(sr).all()
    assert np.abs(sr).max() < 3


@every
def test_a_constant_scene_stays_constant(model):
    hr = np.broadcast_to(np.linspace(0.2, 0.8, 10, dtype=np.float32)[:, None, None], (10, 16, 16)).copy()
    lr, msi, psf, _ = observe(hr)
    np.testing.assert_allclose(model(4, psf).predict(lr, msi=msi)[0], hr, atol=5e-3)


@every
def test_dark_pixels_and_bands_and_scenes(model):
    hr = scene()
    hr[:, :32] = 0
    hr[3] = 0
    lr, msi, psf, matrix = observe(hr)
    sr = model(4, psf).predict(lr, msi=msi)
    assert np.isfinite(sr).all()
    assert np.abs(sr[0, :, :16]).max() < 0.02
    assert np.abs(sr[0, 3]).max() < (1e-4 if model in (UtvTd, Spectralift, GuidedProjection) else 1e-5)
    assert np.abs(model(4, psf, matrix).predict(0 * lr, msi=0 * msi)).max() < 1e-6


@pytest.mark.parametrize("model", [model for model in ALL if model is not GuidedProjection])
def test_the_unit_does_not_matter(model):
    """The regularisation of a guided filter is in units of the full range."""
    lr, msi, psf, matrix = observe(scene(size=(32, 32)))
    resolver = model(4, psf, matrix)
    a, b = resolver.predict(lr, msi=msi), resolver.predict(lr / 16, msi=msi / 16)
    np.testing.assert_allclose(16 * b, a, atol=2e-3)


@pytest.mark.parametrize("model", [Sfim, Gsa, MtfGlp, MtfGlpHpm, Fuse, HySure], ids=lambda model: model.__name__)
def test_bands_that_are_multiples_of_one_are_restored(model):
    """Theory: with a pan that is proportional to each band nothing is left to guess."""
    hr = np.linspace(0.3, 1, 5, dtype=np.float32)[:, None, None] * (0.3 + scene(1, (32, 32)))
    lr, msi, psf, _ = observe(hr, channels=1)
    np.testing.assert_allclose(model(4, psf).predict(lr, msi=msi)[0], hr, atol=2e-3)


def test_cnmf_mixes_without_negative_values_and_without_chance():
    lr, msi, psf, _ = observe(scene(size=(16, 16)))
    a, b = (Cnmf(4, psf).predict(lr, msi=msi) for _ in range(2))
    assert np.array_equal(a, b)
    assert a.min() >= 0


def test_hysure_agrees_with_both_images():
    hr = scene()
    lr, msi, psf, matrix = observe(hr)
    sr = HySure(4, psf, matrix).predict(lr, msi=msi)[0]
    np.testing.assert_allclose(psf.downsample(sr, 4), lr[0], atol=5e-3)
    np.testing.assert_allclose(apply_response(matrix, sr), msi[0], atol=5e-3)


def test_hysure_smooths_noise_where_it_is_asked_to():
    hr = scene(light=0)
    lr, msi, psf, matrix = observe(hr)
    noisy = msi + np.random.default_rng(1).normal(0, 0.1, msi.shape).astype(np.float32)
    plain, smooth = (HySure(4, psf, matrix, smoothness=value).predict(lr, msi=noisy) for value in (1e-4, 0.03))
    assert quality(smooth, hr) > quality(plain, hr) + 3
    with pytest.raises(ParamsError, match="smoothness must be above 0, got 0"):
        HySure(4, psf, smoothness=0)


def test_hpm_is_the_interpolation_times_the_ratio_of_the_pans():
    hr = 0.3 + scene(size=(16, 16))
    lr, msi, psf, _ = observe(hr)
    low = psf.downsample(msi[0], 4).reshape(3, -1).astype(float)
    design = np.concatenate([low, np.ones((1, low.shape[1]))])
    weights = np.linalg.lstsq(design.T, lr[0].reshape(10, -1).T.astype(float), rcond=None)[0].T
    pan, smooth = (
        np.einsum("kc,chw->khw", weights[:, :-1], image) + weights[:, -1:, None]
        for image in (msi[0], upsample(psf.downsample(msi[0], 4), 4))
    )
    expected = upsample(lr[0], 4) * pan / smooth
    np.testing.assert_allclose(MtfGlpHpm(4, psf).predict(lr, msi=msi)[0], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("snr_db", [20.0, 50.0])
def test_fuse_is_the_minimum_of_its_objective(snr_db):
    """A small scene, solved as one dense linear system in the pixels of all bands."""
    lr, msi, psf, matrix = observe(scene(4, (8, 8)), scale=4, channels=2)
    model = Fuse(4, psf, matrix, components=4, snr_db=snr_db)
    unit = float(np.sqrt(np.mean(np.square(lr))))
    basis = singular_vectors(lr[0], 4).astype(float)
    low = np.einsum("cp,chw->phw", basis, lr[0] / unit)
    blur = np.kron(psf.matrix(8, 4), psf.matrix(8, 4))
    penalty = 10 ** (-snr_db / 10) / model._variances(low.astype(np.float32))
    mixing = matrix @ basis
    count = len(low)
    system = np.kron(np.eye(count), blur.T @ blur) + np.kron(mixing.T @ mixing + np.diag(penalty), np.eye(64))
    near = upsample(low, 4).reshape(count, -1)
    right = low.reshape(count, -1) @ blur + mixing.T @ (msi[0].reshape(2, -1) / unit) + penalty[:, None] * near
    expected = basis @ np.linalg.solve(system, right.ravel()).reshape(count, -1) * unit
    np.testing.assert_allclose(model.predict(lr, msi=msi)[0].reshape(4, -1), expected, atol=2e-3)


def test_mapsmm_agrees_with_both_images():
    hr = scene()
    lr, msi, psf, matrix = observe(hr)
    sr = Mapsmm(4, psf, matrix, steps=200, snr_db=70).predict(lr, msi=msi)[0]
    np.testing.assert_allclose(psf.downsample(sr, 4), lr[0], atol=5e-3)
    np.testing.assert_allclose(apply_response(matrix, sr), msi[0], atol=5e-3)


def test_mapsmm_with_one_endmember_is_the_gaussian_estimate():
    """One class: the conditional mean of all coefficients given both images, as one dense linear system."""
    lr, msi, psf, matrix = observe(scene(4, (8, 8)), scale=4, channels=2)
    model = Mapsmm(4, psf, matrix, components=3, endmembers=1, steps=500, snr_db=30)
    unit = float(np.sqrt(np.mean(np.square(lr, dtype=float))))
    basis = singular_vectors(lr[0], 3).astype(float)
    low = np.einsum("cp,chw->phw", basis, lr[0] / unit)
    means, covariances, _ = model._classes(low.reshape(3, -1))
    blur, mixing, noise = np.kron(psf.matrix(8, 4), psf.matrix(8, 4)), matrix @ basis, 1e-3
    seen = np.concatenate([np.kron(np.eye(3), blur), np.kron(mixing, np.eye(64))])
    prior, mean = np.kron(covariances[0], np.eye(64)), np.repeat(means[0], 64)
    given = np.concatenate([low.ravel(), msi[0].ravel() / unit])
    gain = prior @ seen.T @ np.linalg.inv(seen @ prior @ seen.T + noise * np.eye(len(seen)))
    expected = basis @ (mean + gain @ (given - seen @ mean)).reshape(3, -1) * unit
    np.testing.assert_allclose(model.predict(lr, msi=msi)[0].reshape(4, -1), expected, atol=2e-3)


@pytest.mark.parametrize("model", [Fuse, Mapsmm], ids=lambda model: model.__name__)
def test_noise_that_is_known_costs_less(model):
    hr = scene(light=0)
    lr, msi, psf, matrix = observe(hr)
    noisy = msi + np.random.default_rng(1).normal(0, 0.1, msi.shape).astype(np.float32)
    plain, smooth = (model(4, psf, matrix, snr_db=value).predict(lr, msi=noisy) for value in (60.0, 15.0))
    assert quality(smooth, hr) > quality(plain, hr) + 1
    with pytest.raises(ParamsError, match="snr_db must be between 0 and 120, got -3"):
        model(4, psf, snr_db=-3)


@every
def test_what_it_refuses(model):
    lr, msi, psf, matrix = observe(scene())
    with pytest.raises(ModelInputError, match="Got no HR-MSI"):
        model(4, psf).predict(lr)
    with pytest.raises(ModelInputError, match="take a model of that scale"):
        model(2, psf).predict(lr, msi=msi)
    with pytest.raises(ModelInputError, match="NaN"):
        model(4, psf).predict(lr, msi=np.full_like(msi, np.nan))
    with pytest.raises(ModelInputError, match=r"expected a response of shape \(3, 10\), got \(3, 9\)"):
        model(4, psf, matrix[:, 1:]).predict(lr, msi=msi)


@every
@pytest.mark.skipif(not CAVE.exists(), reason="the real scenes are not beside this checkout (../shared/data)")
def test_a_real_scene(model):
    from hsipipe import open_cube

    hr = np.asarray(open_cube(CAVE / "balloons_ms").values, dtype=np.float32)[:, 128:256, 128:256]
    lr, msi, psf, _ = observe(hr, 8)
    assert quality(model(8, psf).predict(lr, msi=msi), hr) > quality(Bicubic(8).predict(lr), hr) + 10
