"""A prediction is compared with interpolation and with the training of its model, without the truth."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.psf import BICUBIC as PSF
from hsipipe.errors import IntegrityError, ModelInputError
from hsipipe.formats.base import make_cube
from hsipipe.inference.guard import BLOCK, Judgement, added_detail, coarser_gain_db, guarded, judge, replaced
from hsipipe.inference.known import check_wavelengths, input_warnings
from hsipipe.inference.wording import QUERY
from hsipipe.methods.base import Method
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.domain import FILE, Domain, roughness

BANDS, SCALE = 6, 4
CENTRES = tuple(400.0 + 10 * band for band in range(BANDS))
TILES = {"tile": 64, "overlap": 8}


def scene(seed: int = 0, edge: int = 160) -> np.ndarray:
    """An image (C, H, W) in 0..1 with structure at all scales, of three spectra."""
    rng = np.random.default_rng(seed)
    maps = sum(gaussian_filter(rng.standard_normal((3, edge, edge)), (0, s, s)) * s for s in (1, 2, 4, 8, 16))
    maps = (maps - maps.min()) / (maps.max() - maps.min())
    spectra = np.abs(np.sin(np.arange(BANDS)[:, None] / 3 + np.arange(3)))
    return (np.tensordot(spectra, maps, 1) / spectra.sum(axis=1).max()).astype(np.float32)


HR = scene()
LR = downsample(HR, SCALE)


class Fake(Method):
    """Adds to the interpolation what `added` returns for it."""

    KIND = "fake"
    scale = SCALE

    def __init__(self, added):
        self._added = added

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        up = upsample(lr, SCALE)
        return (up + self._added(up)).astype(np.float32)

    @classmethod
    def untrained(cls, settings, data):
        raise NotImplementedError

    def config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        raise NotImplementedError


def sharpened(up):
    return 0.3 * (up - gaussian_filter(up, (0, 0, 2, 2)))


def checkerboard(up):
    rows, columns = np.indices(up.shape[-2:])
    return np.broadcast_to(0.05 * np.where((rows + columns) % 2, 1, -1), up.shape)


def judged(added, lr=LR):
    model = Fake(added)
    return judge(model, lr, model.predict(lr[None])[0], **TILES)


def test_interpolation_and_the_truth_are_not_doubted():
    interpolated = judge(Bicubic(SCALE), LR, upsample(LR, SCALE), **TILES)
    assert interpolated.warnings() == []
    assert interpolated.detail.max() < 1e-6
    detail, grid = added_detail(LR, HR, scale=SCALE, psf=PSF)
    assert detail.max() < 4
    assert not ((grid > 0.5) & (detail > 1)).any()


def test_a_checkerboard_is_doubted_everywhere():
    judgement = judged(checkerboard)
    assert judgement.doubtful.all()
    assert judgement.loses
    first, second = judgement.warnings()
    assert "worse than interpolation" in first
    assert "100.0% of the image has implausible detail" in second


def test_only_the_damaged_part_is_doubted_and_replaced():
    def damage(up):
        added = np.zeros_like(up)
        added[..., :32, :32] = np.random.default_rng(0).normal(0, 0.3, added[..., :32, :32].shape)
        return added

    model = Fake(damage)
    sr = model.predict(LR[None])[0]
    judgement = judge(model, LR, sr, **TILES)
    assert judgement.doubtful[0, 0]
    assert judgement.doubtful.sum() <= 4
    mended = replaced(sr, LR, replace(judgement, gain_db=None), scale=SCALE)
    edge = BLOCK * SCALE
    np.testing.assert_allclose(mended[:, :edge, :edge], upsample(LR, SCALE)[:, :edge, :edge], atol=1e-5)
    np.testing.assert_array_equal(mended[:, 3 * edge :, 3 * edge :], sr[:, 3 * edge :, 3 * edge :])


def test_a_model_that_loses_is_replaced_everywhere_on_demand():
    model = Fake(checkerboard)
    sr = model.predict(LR[None])[0]
    kept, told = guarded(model, LR, sr, guard="warn", **TILES)
    assert kept is sr
    assert told
    mended, told = guarded(model, LR, sr, guard="fallback", **TILES)
    np.testing.assert_allclose(mended, upsample(LR, SCALE), atol=1e-5)
    assert told[-1] == "100.0% of the image is interpolated instead."
    assert guarded(model, LR, sr, guard="off", **TILES) == (sr, [])


@pytest.mark.parametrize(
    ("gain_db", "said"),
    [(1.234, "1.2 dB above interpolation"), (-0.3, "0.3 dB below interpolation"), (None, ""), (-2.0, "")],
)
def test_the_model_is_compared_with_interpolation_once(gain_db, said):
    none = np.zeros((1, 1))
    judgement = Judgement(gain_db, none > 0, none, none)
    assert judgement.comparison() == (f"{said} at the next coarser resolution of this scene" if said else "")
    assert bool(judgement.comparison() or judgement.warnings()) == (gain_db is not None)


def test_a_scene_too_small_for_a_coarser_one_is_judged_by_its_detail_alone():
    judgement = judged(checkerboard, LR[:, :9, :9])
    assert judgement.gain_db is None
    assert judgement.doubtful.any()


@settings(max_examples=15, deadline=None)
@given(st.integers(17, 45), st.integers(17, 45), st.integers(0, 5))
def test_any_size_is_judged_and_a_model_that_sharpens_wins(height, width, seed):
    lr = downsample(scene(seed, 180), SCALE)[:, :height, :width]
    model = Fake(sharpened)
    gain = coarser_gain_db(model, lr, msi=None, psf=PSF, **TILES)
    assert gain is None or gain > 0
    assert not judge(model, lr, model.predict(lr[None])[0], **TILES).doubtful.any()


DOMAIN = Domain(
    CENTRES, 0.0, 1.0, roughness(LR), np.linalg.qr(scene(1)[:, ::8, ::8].reshape(BANDS, -1)[:, :40])[0].T[:3], 0.01
)


def labelled(centres=CENTRES):
    return make_cube(LR, wavelength_nm=centres)


def test_bands_of_the_training_pass_without_a_word():
    assert check_wavelengths(DOMAIN, labelled()) == ()
    assert check_wavelengths(DOMAIN, labelled(tuple(nm + 4 for nm in CENTRES))) == ()
    assert check_wavelengths(None, labelled()) == ()


def test_other_wavelengths_are_refused_and_accepted_on_demand():
    other = labelled(tuple(500.0 + 10 * band for band in range(BANDS)))
    text = (
        "6 of 6 bands lie more than half a band step from those of the training: the cube has 6 bands from 500 to 550 "
        "nm, the model was trained on 6 bands from 400 to 450 nm"
    )
    with pytest.raises(ModelInputError, match=rf"^{text}\. Take a model of this sensor, or go on with --other-wave"):
        check_wavelengths(DOMAIN, other)
    with pytest.raises(ModelInputError, match="or go on with other_wavelengths=true"):
        check_wavelengths(DOMAIN, other, wording=QUERY)
    assert check_wavelengths(DOMAIN, other, allow_other=True) == (f"{text}.",)


def test_unknown_wavelengths_are_noted():
    (note,) = check_wavelengths(DOMAIN, make_cube(LR))
    assert note.startswith("the cube states no wavelengths; the model was trained on 6 bands from 400 to 450 nm")
    (note,) = check_wavelengths(replace(DOMAIN, wavelength_nm=None), labelled())
    assert note.startswith("the model does not know the wavelengths of its training")


def test_images_like_those_of_the_training_have_no_warning():
    assert input_warnings(DOMAIN, LR) == []
    assert input_warnings(None, 100 * LR) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda lr: 3 * lr, r"of the values lie outside of the range of the training \(0 to 1\)"),
        (lambda lr: lr / 10000, "is a scale applied twice"),
        (lambda lr: lr[::-1], "of the spectra are unlike those of the training"),
        (lambda lr: lr + np.random.default_rng(0).normal(0, 0.1, lr.shape), "the cube is noisier than the training"),
    ],
)
def test_images_unlike_those_of_the_training_are_warned_of_with_a_number(change, text):
    told = " ".join(input_warnings(DOMAIN, change(LR)))
    assert re.search(text, told), told
    assert any(digit in told for digit in "0123456789")


def test_a_domain_survives_its_file(tmp_path):
    assert Domain.read(tmp_path) is None
    DOMAIN.write(tmp_path)
    again = Domain.read(tmp_path)
    assert again.wavelength_nm == DOMAIN.wavelength_nm
    assert (again.low, again.high, again.noise, again.outside) == (0.0, 1.0, DOMAIN.noise, 0.01)
    np.testing.assert_allclose(again.basis, DOMAIN.basis, atol=1e-6)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"wavelength_nm": null, "range": [0, 1], "basis": [1]}', "[" * 10**5]
)
def test_a_damaged_domain_is_named(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(IntegrityError, match=f"{FILE} is damaged"):
        Domain.read(tmp_path)
