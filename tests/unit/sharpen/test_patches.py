"""Training patches of a scene: inside of their region, on whole LR pixels, and without a hole."""

import numpy as np
import pytest

from hsipipe.inference.plan import Box
from hsipipe.methods.base import Frame
from hsipipe.sharpen.patches import SMALLEST, cut_patches


def test_patches_are_cut_from_hr_and_lr_at_the_same_ground(make_reduced):
    reduced = make_reduced()
    patches = cut_patches(reduced, Box(8, 40, 4, 64))
    assert patches.shape("hr") == (6, 32, 32)
    assert patches.shape("lr") == (6, 16, 16)
    read = patches.read([len(patches) - 1])
    assert np.array_equal(read["hr"][0], reduced.hr[:, 8:40, 32:64])
    assert np.array_equal(read["lr"][0], reduced.lr[:, 4:20, 16:32])


def test_patches_are_turned_alike(make_reduced):
    patches = cut_patches(make_reduced(), Box(0, 48, 0, 64))
    plain, turned = (patches.read([0, 1], codes=codes) for codes in ([0, 0], [0, 3]))
    for name in ("hr", "lr"):
        assert np.array_equal(turned[name][0], plain[name][0])
        assert np.array_equal(turned[name][1], plain[name][1].swapaxes(1, 2)[:, ::-1])


def test_no_patch_has_a_hole_and_what_is_under_it_changes_nothing(make_scene, make_reduced):
    values, valid = make_scene(), np.ones((48, 64), bool)
    valid[20:23, 30:32] = valid[40, 5] = False
    one, two = (
        cut_patches(make_reduced(np.where(valid, values, under), valid), Box(0, 48, 0, 64))
        for under in (np.float32(0.5), np.float32(9.0))
    )
    assert 0 < len(one) == len(two)
    for name in ("hr", "lr"):
        every = one.read(range(len(one)))[name]
        assert np.array_equal(every, two.read(range(len(two)))[name])
        assert every.max() < 1.5


def test_patches_shrink_between_holes_and_give_up_without_data(make_scene, make_reduced):
    valid = np.ones((48, 64), bool)
    valid[::12, ::12] = False
    patches = cut_patches(make_reduced(make_scene(), valid), Box(0, 48, 0, 64))
    assert SMALLEST <= patches.shape("lr")[1] < 8
    valid[::4, ::4] = False
    assert cut_patches(make_reduced(make_scene(), valid), Box(0, 48, 0, 64)) is None


@pytest.mark.parametrize("centres", [None, np.linspace(400, 900, 6)])
def test_a_method_gets_its_frame_from_them(make_reduced, centres):
    frame = Frame.of(cut_patches(make_reduced(), Box(0, 48, 0, 64), wavelength_nm=centres))
    assert (frame.bands, frame.scale, frame.patch, frame.psf.mtf) == (6, 2, 32, 0.3)
    assert frame.wavelength_nm == (None if centres is None else tuple(centres))
