import re
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved

from hsipipe.degradation.psf import Psf
from hsipipe.degradation.registration import misregistration, pair_warnings
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import DataError

CAVE = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cave"


def scene(bands=8, size=128, rank=5, seed=0):
    """Texture of several sizes in several spectra, (C, H, W)."""
    rng = np.random.default_rng(seed)
    spectra = gaussian_filter(rng.uniform(0, 1, (bands, rank)), (1, 0))
    textures = [gaussian_filter(rng.uniform(0, 1, (size, size)), sigma) for sigma in np.linspace(1, 6, rank)]
    return np.tensordot(spectra, np.stack([(t - t.min()) / np.ptp(t) for t in textures]), 1)


def response(bands=8, channels=3):
    centres = np.linspace(0, bands - 1, channels)[:, None]
    rows = np.exp(-0.5 * ((np.arange(bands) - centres) / 1.5) ** 2)
    return rows / rows.sum(axis=1, keepdims=True)


def pair(scale=4, shift=(0.0, 0.0), psf=None, size=128, channels=3):
    hr, psf, matrix = scene(size=size), psf or Psf("gaussian", sigma=scale / 2.35), response(channels=channels)
    return (
        psf.downsample(hr, scale),
        moved(apply_response(matrix, hr), (0, *shift), order=3, mode="nearest"),
        psf,
        matrix,
    )


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-0.5, 1.5), (1.7, -1.3), (6, -9)])
def test_a_shift_is_found_to_a_quarter_lr_pixel(shift):
    lr, msi, psf, matrix = pair(4, shift)
    found = misregistration(lr, msi, scale=4, psf=psf, response=matrix)
    np.testing.assert_allclose(found, shift, atol=0.1)


@pytest.mark.parametrize("psf", [Psf("average"), Psf("bicubic"), Psf("gaussian", sigma=2, phase=0)])
def test_of_any_psf(psf):
    lr, msi, psf, matrix = pair(4, (1.5, 2.5), psf)
    np.testing.assert_allclose(misregistration(lr, msi, scale=4, psf=psf, response=matrix), (1.5, 2.5), atol=0.1)


def test_units_do_not_matter():
    lr, msi, psf, matrix = pair(4, (2, 1))
    np.testing.assert_allclose(misregistration(lr, 1000 * msi + 7, scale=4, psf=psf, response=matrix), (2, 1), atol=0.1)


@pytest.mark.parametrize(
    "image",
    [
        np.full((8, 16, 16), 0.4),
        np.zeros((8, 16, 16)),
        np.broadcast_to(np.linspace(0, 1, 16)[:, None], (8, 16, 16)),
        scene(size=4),
    ],
    ids=["constant", "dark", "even along the columns", "small"],
)
def test_it_says_so_where_it_cannot_tell(image):
    msi = apply_response(response(), np.kron(image, np.ones((2, 2))))
    found = misregistration(image, msi, scale=2, psf=Psf("average"), response=response())
    assert all(isnan(value) for value in found)
    assert pair_warnings(image, msi, scale=2, psf=Psf("average")) == []


def test_unrelated_images_are_not_registered():
    lr, _, psf, matrix = pair()
    other = apply_response(matrix, scene(seed=9))
    assert all(isnan(value) for value in misregistration(lr, other, scale=4, psf=psf, response=matrix))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_no_warning_of_a_good_pair(scale, known):
    lr, msi, psf, matrix = pair(scale)
    noise = np.random.default_rng(1).normal(0, 0.03 * lr.std(), lr.shape)
    assert pair_warnings(lr + noise, msi, scale=scale, psf=psf, response=matrix if known else None) == []


def test_no_warning_of_a_noisy_constant():
    rng = np.random.default_rng(0)
    lr, msi = (0.5 + rng.normal(0, 0.01, shape) for shape in ((8, 32, 32), (3, 128, 128)))
    assert pair_warnings(lr, msi, scale=4, psf=Psf("average")) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_shifted_pair_is_told_how_to_mend(known):
    lr, msi, psf, matrix = pair(8, (3, -2))
    (warning,) = pair_warnings(lr, msi, scale=8, psf=psf, response=matrix if known else None)
    rows, columns = (float(value) for value in re.findall(r"([+-]\d\.\d) (?:rows|columns)", warning)[:2])
    assert (rows, columns) == pytest.approx((3, -2), abs=0.05 if known else 0.3)
    assert "LR pixels), expected no more than 1" in warning
    assert f"shift it by {-rows:+.1f} rows and {-columns:+.1f} columns" in warning
    mended = moved(msi, (0, -3, 2), order=3, mode="nearest")
    assert pair_warnings(lr, mended, scale=8, psf=psf, response=matrix if known else None) == []


def test_less_than_a_pixel_is_tolerated():
    lr, msi, psf, matrix = pair(4, (0.6, -0.5))
    assert pair_warnings(lr, msi, scale=4, psf=psf, response=matrix) == []


def test_a_band_outside_the_spectrum_is_named():
    lr, msi, psf, _ = pair()
    other = scene(bands=1, seed=5)
    (warning,) = pair_warnings(
        lr, np.concatenate([msi, other]), scale=4, psf=psf, wavelength_nm=[450, 550, 650, 1600.0]
    )
    assert "of the HR-MSI's band 4 (1600 nm), expected 90% or more" in warning
    assert "drop the band, or provide the SRF" in warning
    assert pair_warnings(lr, msi, scale=4, psf=psf, wavelength_nm=[450, 550, 650]) == []


def test_a_response_that_does_not_fit_is_named():
    lr, msi, psf, matrix = pair()
    matrix[1] *= 3
    (warning,) = pair_warnings(lr, msi, scale=4, psf=psf, response=matrix)
    assert "explains 0% of the variance of the HR-MSI's band 2," in warning
    assert "the units of the two images differ: check both" in warning


def test_what_is_no_pair_is_refused():
    lr, msi, psf, _ = pair()
    with pytest.raises(DataError, match="crop both to the same ground"):
        pair_warnings(lr, msi[:, 4:], scale=4, psf=psf)
    with pytest.raises(DataError, match=r"Got a response of shape \(2, 8\), expected \(3, 8\)"):
        misregistration(lr, msi, scale=4, psf=psf, response=response(channels=2))


@pytest.mark.skipif(not CAVE.exists(), reason="the real scenes are not beside this checkout (../shared/data)")
@pytest.mark.parametrize("scale", [4, 8, 32])
def test_a_real_scene(scale):
    from hsipipe import open_cube

    hr = np.asarray(open_cube(CAVE / "cloth_ms").values, dtype=np.float32)
    psf, matrix = Psf("gaussian", sigma=scale / 2.35), response(31)
    lr, msi = psf.downsample(hr, scale), apply_response(matrix, hr)
    assert pair_warnings(lr, msi, scale=scale, psf=psf) == []
    rows, columns = misregistration(lr, np.roll(msi, (3, -2), (1, 2)), scale=scale, psf=psf, response=matrix)
    assert (rows, columns) == pytest.approx((3, -2), abs=0.1)
