"""Fields of shifts: known warps are found to a fraction of an HR pixel, and removed by one resampling."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from hsipipe.degradation.psf import Psf
from hsipipe.degradation.shift_field import align, align_mask, estimate_field
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import DataError

PSF, SIZE, MARGIN = Psf("gaussian", mtf=0.3), 192, 24
FIELDS = {
    "shift": lambda y, x: (5.6 + 0 * y, -5.6 + 0 * y),
    "rotation": lambda y, x: (5.5 * x, -5.5 * y),
    "quadratic": lambda y, x: (8 * (y * y - 0.4), 6.4 * x * y),
    "waves": lambda y, x: (4 * np.sin(2.2 * x), 4 * np.cos(1.8 * y + x)),
}


@pytest.fixture(scope="module")
def ground():
    """Texture of several sizes in several spectra (C, H, W) with a margin, and a response (c, C)."""
    rng = np.random.default_rng(0)
    spectra = gaussian_filter(rng.uniform(0, 1, (8, 5)), (1, 0))
    whole = SIZE + 2 * MARGIN
    textures = [gaussian_filter(rng.uniform(0, 1, (whole, whole)), sigma) for sigma in np.linspace(1, 6, 5)]
    hr = np.tensordot(spectra, np.stack([(t - t.min()) / np.ptp(t) for t in textures]), 1)
    rows = np.exp(-0.5 * ((np.arange(8) - np.array([[0], [3.5], [7]])) / 1.5) ** 2)
    return hr, rows / rows.sum(axis=1, keepdims=True)


def warped(ground, kind, *, scale=4, size=SIZE):
    """LR-HSI, HR-MSI with a known field of shifts, the unshifted HR-MSI, and the field (2, H, W)."""
    hr, matrix = ground
    rows, columns = np.mgrid[: hr.shape[1], : hr.shape[2]].astype(float)
    known = np.stack(FIELDS[kind](*(2 * (place - MARGIN + 0.5) / size - 1 for place in (rows, columns))))
    # The content of pixel p lies at p + d(p); each pixel q of the MSI shows p = q - d(p), by fixed point.
    inverse = known.copy()
    for _ in range(30):
        places = np.stack([rows, columns]) - inverse
        inverse = np.stack([map_coordinates(part, places, order=1, mode="nearest") for part in known])
    msi = apply_response(matrix, hr)
    shifted = np.stack([map_coordinates(band, np.stack([rows, columns]) - inverse, order=3) for band in msi])
    cut = (slice(None), *[slice(MARGIN, MARGIN + size)] * 2)
    return PSF.downsample(hr[cut], scale), shifted[cut], msi[cut], known[cut]


@pytest.mark.parametrize("kind", FIELDS)
def test_a_known_field_is_found_and_removed(ground, kind):
    lr, msi, unshifted, known = warped(ground, kind)
    field = estimate_field(lr, msi, scale=4, psf=PSF)
    rmse = np.sqrt(np.square(field.grid() - known).sum(axis=0).mean())
    assert np.linalg.norm(known, axis=0).max() > 4
    assert rmse < 0.2
    assert field.after < 0.1 < 1 < field.before
    inside = (slice(None), slice(12, -12), slice(12, -12))
    errors = [np.square(image - unshifted)[inside].mean() for image in (msi, align(msi, field))]
    assert errors[1] < 0.02 * errors[0]


def test_noise_and_units_do_not_matter_and_a_changed_part_little(ground):
    lr, msi, _, known = warped(ground, "quadratic")
    rng = np.random.default_rng(1)
    msi = 1000 * (msi + rng.normal(0, 0.01, msi.shape))
    field = estimate_field(lr, msi, scale=4, psf=PSF)
    assert np.sqrt(np.square(field.grid() - known).sum(axis=0).mean()) < 0.1
    msi[:, 40:64, 110:134] = 1000 * rng.uniform(0, 1, (3, 24, 24))
    field = estimate_field(lr, msi, scale=4, psf=PSF)
    assert np.sqrt(np.square(field.grid() - known).sum(axis=0).mean()) < 0.4


def test_a_small_image_has_a_simple_field(ground):
    lr, msi, _, known = warped(ground, "shift", size=48)
    field = estimate_field(lr, msi, scale=4, psf=PSF)
    assert field.degree == 0
    assert np.abs(field.grid() - known).max() < 0.3


def test_an_aligned_image_keeps_its_bits(ground):
    lr, _, unshifted, _ = warped(ground, "shift")
    field = estimate_field(lr, unshifted, scale=4, psf=PSF)
    assert np.linalg.norm(field.grid(), axis=0).max() < 0.1
    assert field.before < 0.1
    still = estimate_field(np.zeros_like(lr) + lr, unshifted, scale=4, psf=PSF)
    assert np.array_equal(still.coefficients, field.coefficients)


def test_masks_move_with_the_image_and_content_from_outside_is_none(ground):
    lr, msi, _, _ = warped(ground, "shift")
    field = estimate_field(lr, msi, scale=4, psf=PSF)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[100, 100] = True
    moved = np.argwhere(align_mask(mask, field))
    assert np.abs(moved.mean(axis=0) - (100 - 5.6, 100 + 5.6)).max() < 0.3
    outside = field.outside()
    assert outside[-5:].all()
    assert outside[:, :5].all()
    assert not outside[:-7, 7:].any()


def test_images_without_common_texture_are_refused(ground):
    lr, msi, _, _ = warped(ground, "shift")
    with pytest.raises(DataError, match=r"no window of common texture, .* do both show the same ground"):
        estimate_field(lr, np.random.default_rng(0).random(msi.shape), scale=4, psf=PSF)
    with pytest.raises(DataError, match="no window of common texture"):
        estimate_field(lr, np.ones_like(msi), scale=4, psf=PSF)
