"""A hole of the HR-MSI alone is filled by what the LR-HSI shows below it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from hsipipe.degradation.psf import Psf
from hsipipe.formats import save_cube
from hsipipe.formats.base import make_cube
from hsipipe.inference.holes import fill_holes
from hsipipe.inference.inputs import prepare
from hsipipe.inference.msi_holes import fill_from_lr, response_of_rest
from hsipipe.inference.pair import MsiFile
from hsipipe.inference.scene import predict_scene
from hsipipe.inference.wording import COMMAND
from hsipipe.methods.fusion_fast.guided_projection import GuidedProjection

SCALE = 4
PSF = Psf("gaussian", mtf=0.3)
RESPONSE = np.array([[0.5, 0.3, 0.2, 0.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.2, 0.3, 0.4]])
CLOUD = (slice(40, 64), slice(50, 80))


@pytest.fixture(scope="module")
def truth():
    """A smooth scene (6, 96, 128) of six materials, which two bands cannot tell apart."""
    rng = np.random.default_rng(0)
    spectra = rng.uniform(0.1, 0.8, (6, 6))
    fields = gaussian_filter(rng.standard_normal((6, 96, 128)), (0, 2.5, 2.5))
    fields += 3 * gaussian_filter(rng.standard_normal((6, 96, 128)), (0, 12, 12))
    shares = np.exp(fields / fields.std())
    return np.einsum("cm,mhw->chw", spectra, shares / shares.sum(axis=0)).astype(np.float32)


@pytest.fixture
def pair(truth):
    """LR-HSI, HR-MSI, and its holes."""
    holes = np.zeros(truth.shape[1:], bool)
    holes[CLOUD] = True
    msi = np.einsum("mc,chw->mhw", RESPONSE, truth).astype(np.float32)
    return PSF.downsample(truth, SCALE).astype(np.float32), msi, holes


@pytest.mark.parametrize("known", [RESPONSE, None])
def test_the_degraded_image_is_the_lr_image_through_the_response(pair, known):
    lr, msi, holes = pair
    opened = np.where(holes, np.float32(np.nan), msi)
    nearest, _ = fill_holes(opened, "msi")
    filled = fill_from_lr(lr, nearest, holes, None, scale=SCALE, psf=PSF, known=known)
    np.testing.assert_array_equal(filled[:, ~holes], msi[:, ~holes])
    expected = np.einsum("mc,chw->mhw", RESPONSE, lr)
    apart = np.abs(PSF.downsample(filled, SCALE) - expected)
    before = np.abs(PSF.downsample(nearest, SCALE) - expected)
    assert apart.max() < 0.05 * before.max()


def test_values_in_the_holes_have_no_effect(pair):
    lr, msi, holes = pair
    filled = [
        fill_from_lr(lr, np.where(holes, np.float32(fill), msi), holes, None, scale=SCALE, psf=PSF, known=None)
        for fill in (0.0, 7.0)
    ]
    assert filled[0].tobytes() == filled[1].tobytes()


def test_the_response_is_that_of_pixels_without_holes(pair):
    lr, msi, holes = pair
    spoilt = np.where(holes, np.float32(9), msi)
    lr_holes = np.zeros(lr.shape[1:], bool)
    lr_holes[:3] = True
    wrong = np.where(lr_holes, np.float32(3), lr)
    found = response_of_rest(wrong, spoilt, holes, lr_holes, scale=SCALE, psf=PSF)
    np.testing.assert_allclose(found @ lr.reshape(6, -1), RESPONSE @ lr.reshape(6, -1), atol=1e-3)


def test_a_fusion_keeps_its_quality_next_to_a_cloud_of_the_msi(tmp_path, truth, pair):
    lr, msi, holes = pair
    model = GuidedProjection(SCALE, PSF)
    fused = {}
    for name, image in (("whole", msi), ("cloud", np.where(holes, np.float32(np.nan), msi))):
        save_cube(make_cube(image), tmp_path / f"{name}.npy")
        file = MsiFile(tmp_path / f"{name}.npy")
        given = prepare(model, make_cube(lr), name="lr", full_scale=1.0, msi=file, wording=COMMAND)
        fused[name] = given.wrap(predict_scene(model, given.lr, tile=64, overlap=8, msi=given.msi)).to_numpy()
    assert np.isnan(fused["cloud"][:, holes]).all()
    seen = ~holes
    assert np.isfinite(fused["cloud"][:, seen]).all()
    near = np.zeros_like(holes)
    near[36:68, 46:84] = True  # within an LR pixel of the cloud
    near &= seen
    error = {name: float(np.square(image[:, near] - truth[:, near]).mean()) for name, image in fused.items()}
    assert 10 * np.log10(error["cloud"] / error["whole"]) < 0.2
