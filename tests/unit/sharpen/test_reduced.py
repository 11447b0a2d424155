"""The problem one resolution lower."""

import numpy as np

from hsipipe.degradation.psf import Psf
from hsipipe.sharpen.reduced import reduce_scene, sharper

PSF = Psf("gaussian", mtf=0.3)


def test_the_step_amplifies_the_highest_frequency_by_two_less_its_transfer():
    wave = np.tile(np.array([1.0, -1.0], np.float32), 32)
    scene = np.broadcast_to(wave, (1, 8, 64))
    transfer = np.abs(PSF.downsample(scene, 1)[0, 4, 20:40]).mean()
    made = np.abs(sharper(scene, np.ones((8, 64), bool), psf=PSF)[0, 4, 20:40]).mean()
    assert np.isclose(made, 2 - transfer, rtol=1e-5)
    assert np.isclose(made, 1.41, atol=0.01)


def test_a_flat_scene_stays_as_it_is():
    flat = np.full((3, 12, 12), 0.4, np.float32)
    assert np.allclose(sharper(flat, np.ones((12, 12), bool), psf=PSF), 0.4, atol=1e-6)


def test_values_without_data_change_no_pixel_with_data(make_scene):
    scene, valid = make_scene(), np.ones((48, 64), bool)
    valid[10:14, 20:30] = False
    made = [sharper(np.where(valid, scene, np.float32(under)), valid, psf=PSF) for under in (0.0, 7.0)]
    assert np.array_equal(made[0][:, valid], made[1][:, valid])


def test_the_truth_of_a_pair_is_the_scene_itself(make_scene):
    scene, everywhere = make_scene(), np.ones((48, 64), bool)
    msi = np.ones((2, 96, 128), np.float32)
    pair = reduce_scene(scene, everywhere, scale=2, psf=PSF, msi=(msi, np.ones((96, 128), bool)))
    single = reduce_scene(scene, everywhere, scale=2, psf=PSF)
    assert pair.hr is scene
    assert np.abs(single.hr - scene).max() > 0.01


def holed_pair(scene, under):
    """A scene and an HR-MSI of the same ground with a hole each, at different places."""
    valid, seen = np.ones((48, 64), bool), np.ones((96, 128), bool)
    valid[20:27, 9:30] = seen[60:75, 80:111] = False
    response = np.random.default_rng(0).dirichlet(np.ones(len(scene)), 2).astype(np.float32)
    # Constant in the pixels of the scene, so that both sensors see the same values.
    msi = np.einsum("kc,chw->khw", response, scene).repeat(2, axis=1).repeat(2, axis=2)
    scene, msi = (np.where(mask, image, np.float32(under)) for image, mask in ((scene, valid), (msi, seen)))
    return response, reduce_scene(scene, valid, scale=2, psf=Psf("average"), msi=(msi, seen))


def test_next_to_the_holes_of_a_pair_both_images_show_the_same_ground(make_scene):
    response, pair = holed_pair(make_scene(), np.nan)
    low = Psf("average").downsample(pair.msi, 2)
    np.testing.assert_allclose(np.einsum("kc,chw->khw", response, pair.lr), low, atol=1e-6)
    assert 0.7 < pair.valid.mean() < 0.95


def test_what_lies_in_the_holes_of_a_pair_changes_nothing(make_scene):
    (_, one), (_, other) = (holed_pair(make_scene(), under) for under in (0.0, 7.0))
    assert np.array_equal(one.lr, other.lr)
    assert np.array_equal(one.msi, other.msi)
    assert np.array_equal(one.valid, other.valid)
