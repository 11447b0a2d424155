import numpy as np
import pytest

from hsipipe.degradation.psf import Psf
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.back_projection import BackProjection
from hsipipe.methods.bicubic import Bicubic


@pytest.mark.parametrize("psf", [Psf(), Psf("gaussian", mtf=0.3)], ids=["bicubic", "gaussian"])
def test_the_degraded_result_agrees_with_the_input(psf):
    rng = np.random.default_rng(0)
    hr = psf.downsample(rng.random((3, 96, 96), dtype=np.float32), 2)
    lr = psf.downsample(hr, 2)
    missed = [
        float(np.square(psf.downsample(model.predict(lr[None])[0], 2) - lr).mean())
        for model in (Bicubic(2), BackProjection(2, psf, 2), BackProjection(2, psf, 8))
    ]
    assert missed[2] < missed[1] < missed[0]
    assert missed[2] < 0.02 * missed[0]


def test_it_is_saved_with_its_psf(tmp_path):
    model = BackProjection(4, Psf("gaussian", mtf=0.2), 3)
    model.save(tmp_path)
    assert BackProjection.load(tmp_path) == model


@pytest.mark.parametrize("psf", [Psf(), Psf("gaussian", mtf=0.3)], ids=["bicubic", "gaussian"])
def test_tiles_with_context_are_the_whole(psf):
    lr = np.random.default_rng(0).random((2, 90, 70), dtype=np.float32)
    model = BackProjection(2, psf, 3)
    tiled = predict_scene(model, lr, tile=16, overlap=2)
    np.testing.assert_allclose(tiled, model.predict(lr[None])[0], atol=2e-6)
