from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsipipe.degradation.estimate import estimate_psf, estimate_response, explained
from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import DataError

CAVE = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cave"


def scene(bands=8, size=96, rank=8, seed=0):
    """Patches of smooth spectra with texture on them, (C, H, W)."""
    rng = np.random.default_rng(seed)
    spectra = gaussian_filter(rng.uniform(0, 1, (bands, rank)), (1, 0))
    abundances = np.stack([gaussian_filter(rng.uniform(0, 1, (size, size)), 1.5) for _ in range(rank)])
    return np.tensordot(spectra, abundances, 1)


def response(bands=8, channels=3):
    centres = np.linspace(0, bands - 1, channels)[:, None]
    rows = np.exp(-0.5 * ((np.arange(bands) - centres) / 1.5) ** 2)
    return rows / rows.sum(axis=1, keepdims=True)


def pair(scale=4, sigma=2.0, bands=8, channels=3, size=96):
    hr, psf, matrix = scene(bands, size), Psf("gaussian", sigma=sigma), response(bands, channels)
    return psf.downsample(hr, scale), apply_response(matrix, hr), psf, matrix


@pytest.mark.parametrize("channels", [1, 4, 9])
def test_the_response_of_a_pair_without_noise_predicts_the_msi(channels):
    lr, msi, psf, truth = pair(channels=channels)
    found = estimate_response(lr, msi, scale=4, psf=psf)
    assert (found.shape, found.dtype) == ((channels, 8), np.float64)
    assert found.min() >= 0
    np.testing.assert_allclose(found, truth, atol=0.01)
    np.testing.assert_allclose(np.tensordot(found, lr, 1), psf.downsample(msi, 4), atol=1e-4)


def test_the_response_carries_the_units():
    lr, msi, psf, truth = pair()
    found = estimate_response(lr, 50 * msi, scale=4, psf=psf)
    np.testing.assert_allclose(found.sum(axis=1), 50 * truth.sum(axis=1), rtol=0.01)


def test_a_scene_that_says_nothing_gives_an_even_response():
    found = estimate_response(np.full((6, 4, 4), 0.5), np.full((1, 8, 8), 0.5), scale=2, psf=Psf())
    np.testing.assert_allclose(found, 1 / 6, atol=1e-4)
    assert np.array_equal(
        estimate_response(np.zeros((6, 4, 4)), np.zeros((1, 8, 8)), scale=2, psf=Psf()), np.zeros((1, 6))
    )


def test_fewer_pixels_than_bands():
    lr, msi, psf, _ = pair(bands=40, size=12)
    found = estimate_response(lr, msi, scale=4, psf=psf)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.tensordot(found, lr, 1), psf.downsample(msi, 4), atol=1e-2)


@pytest.mark.parametrize(("scale", "sigma"), [(2, 0.85), (4, 1.7), (4, 3.0), (8, 3.4)])
@pytest.mark.parametrize("known", [True, False])
def test_the_width_of_the_psf_is_found(scale, sigma, known):
    lr, msi, _, matrix = pair(scale, sigma)
    found = estimate_psf(lr, msi, scale=scale, response=matrix if known else None)
    assert found.kind == "gaussian"
    assert found.sigma == pytest.approx(sigma, rel=0.01)


def test_noise_bends_the_width_a_little():
    lr, msi, _, _ = pair(4, 1.7)
    noisy = lr + np.random.default_rng(1).normal(0, 0.03 * lr.std(), lr.shape)
    assert estimate_psf(noisy, msi, scale=4).sigma == pytest.approx(1.7, rel=0.1)


def test_a_constant_pair_has_some_psf():
    assert np.isfinite(estimate_psf(np.ones((3, 4, 4)), np.ones((1, 8, 8)), scale=2).sigma)


def test_explained_share():
    lr, msi, psf, matrix = pair()
    other = np.random.default_rng(3).uniform(0, 1, (1, *msi.shape[1:]))
    constant = np.full((1, *msi.shape[1:]), 0.3, dtype=np.float64)
    shares = explained(
        lr,
        np.concatenate([msi, other, constant]),
        scale=4,
        psf=psf,
        response=np.concatenate([matrix, np.zeros((1, 8)), np.full((1, 8), 0.1)]),
    )
    np.testing.assert_allclose(shares[:3], 1, atol=1e-9)
    assert shares[3] < 0
    assert shares[4] == 1


@pytest.mark.parametrize(
    ("lr", "msi", "matrix", "message"),
    [
        (np.ones((8, 4, 4)), np.ones((3, 8, 9)), None, "Got an MSI of 8 x 9 .* expected 8 x 8 at scale 2; crop"),
        (np.ones((8, 4)), np.ones((3, 8, 8)), None, r"Got lr of shape \(8, 4\), expected \(C, h, w\)"),
        (np.ones((8, 4, 4)), np.ones((0, 8, 8)), None, r"Got msi of shape \(0, 8, 8\)"),
        (np.full((8, 4, 4), np.nan), np.ones((3, 8, 8)), None, "NaN or Inf values in lr"),
        (np.ones((8, 4, 4)), np.ones((3, 8, 8)), np.ones((3, 7)), r"response of shape \(3, 7\), expected \(3, 8\)"),
    ],
)
def test_what_is_no_pair_is_refused(lr, msi, matrix, message):
    with pytest.raises(DataError, match=message):
        explained(lr, msi, scale=2, psf=Psf(), response=np.ones((3, 8)) if matrix is None else matrix)


@pytest.mark.skipif(not CAVE.exists(), reason="the real scenes are not beside this checkout (../shared/data)")
def test_a_real_scene_tells_both():
    from hsipipe import open_cube

    hr = np.asarray(open_cube(CAVE / "balloons_ms").values, dtype=np.float32)
    psf, matrix = Psf("gaussian", sigma=3.4), response(31)
    lr, msi = psf.downsample(hr, 8), apply_response(matrix, hr)
    found = estimate_psf(lr, msi, scale=8)
    assert found.sigma == pytest.approx(3.4, rel=0.01)
    np.testing.assert_allclose(estimate_response(lr, msi, scale=8, psf=found), matrix, atol=0.01)
