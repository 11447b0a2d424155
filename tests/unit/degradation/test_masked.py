"""Degradation of images with pixels that have no data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsipipe.artifacts.no_data import filled
from hsipipe.degradation.masked import LEAST_WEIGHT, downsample_valid
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError

PSFS = [Psf(), Psf("gaussian", mtf=0.3), Psf("average")]


def scene(seed, bands=3, size=16):
    return np.random.default_rng(seed).random((bands, size, size), dtype=np.float32)


def holes(seed, shape, share):
    return np.random.default_rng(seed).random(shape) >= share


@pytest.mark.parametrize("psf", PSFS, ids=lambda psf: psf.kind)
def test_a_full_mask_changes_no_bit(psf):
    low, valid = downsample_valid(scene(0), np.ones((16, 16), bool), 4, psf=psf)
    assert np.array_equal(low, psf.downsample(scene(0), 4))
    assert valid.all()
    assert valid.shape == (4, 4)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    share=st.floats(0.02, 0.9),
    psf=st.sampled_from(PSFS),
    under=st.sampled_from([np.nan, np.inf, -1e30, 0.0, 7.0]),
)
def test_values_under_the_mask_change_nothing(seed, share, psf, under):
    image = scene(seed)
    valid = holes(seed, image.shape[1:], share)
    other = np.where(valid, image, np.float32(under))
    for one, two in zip(*(downsample_valid(x, valid, 2, psf=psf) for x in (image, other)), strict=True):
        assert np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("psf", PSFS, ids=lambda psf: psf.kind)
def test_a_hole_does_not_darken_its_surroundings(psf):
    valid = np.ones((16, 16), bool)
    valid[5:8, 6:11] = False
    low, _ = downsample_valid(np.full((2, 16, 16), 0.7), valid, 4, psf=psf)
    assert np.allclose(low, 0.7)


@pytest.mark.parametrize("psf", PSFS, ids=lambda psf: psf.kind)
def test_a_pair_with_holes_shows_the_same_ground(psf):
    """The LR-HSI seen through a response is the degraded HR-MSI, next to a hole, too."""
    valid, image = holes(3, (32, 32), 0.3), scene(3, bands=6, size=32)
    valid[9:19, 4:26] = False
    response = np.random.default_rng(3).dirichlet(np.ones(6), 2).astype(np.float32)
    lr, seen = downsample_valid(image, valid, 4, psf=psf)
    low = psf.downsample(filled(np.einsum("kc,chw->khw", response, image), valid, scale=4), 4)
    np.testing.assert_allclose(np.einsum("kc,cn->kn", response, lr[:, seen]), low[:, seen], atol=1e-6)


def test_pixels_far_from_a_hole_keep_their_bits():
    valid = np.ones((32, 32), bool)
    valid[:3, :3] = False
    psf = Psf("gaussian", mtf=0.3)
    low, has_data = downsample_valid(scene(1, size=32), valid, 2, psf=psf)
    assert np.array_equal(low[:, 8:, 8:], psf.downsample(scene(1, size=32), 2)[:, 8:, 8:])
    assert has_data[4:, 4:].all()
    assert not has_data[0, 0]


def test_an_lr_pixel_needs_half_of_its_weights():
    valid = np.ones((4, 4), bool)
    valid[:2, :1] = False  # half of the first LR pixel
    valid[2:, 2:3] = valid[2, 3] = False  # three quarters of the last one
    _, has_data = downsample_valid(scene(2, size=4), valid, 2, psf=Psf("average"))
    assert LEAST_WEIGHT == 0.5
    assert has_data.tolist() == [[True, True], [True, False]]


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(DataError, match=r"Got a mask of shape \(4, 4\) for an image of \(3, 16, 16\), expected"):
        downsample_valid(scene(0), np.ones((4, 4), bool), 2, psf=Psf())
