"""What holds for every model that fuses, and what fusion-fast promises beyond that."""

import json

import numpy as np
import pytest
import torch

from hsipipe.degradation.psf import Psf
from hsipipe.degradation.srf import apply_response
from hsipipe.errors import ModelInputError
from hsipipe.evaluation.metrics import band_mse, mpsnr_db, psnr_db
from hsipipe.inference.scene import predict_scene, predict_scene_with_spread
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import load_model, methods, saved_name
from hsipipe.methods.fusion.setup import Pairing
from hsipipe.methods.super_resolver import SampleResolver, SceneResolver, SuperResolver
from hsipipe.storage.manifest import write_manifest

SCALE, BANDS, PSF = 4, 7, Psf("gaussian", sigma=1.7)
NAMES = ("fusion-fast-regression", "ddpmfus", "hsrdiff", "residual-fusion")


def scene(bands=BANDS, msi_bands=3, size=48, seed=0):
    """A smooth mixture of a few materials with edges, its LR-HSI and HR-MSI, and the response."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    fields = [0.5 + 0.4 * np.sin(9 * x + 5 * y), (x + 0.3 * np.sin(12 * y) > 0.5).astype(float), y * x]
    place = np.linspace(0, np.pi, bands)
    spectra = np.stack([0.3 + 0.2 * np.cos((k + 1) * place + rng.random()) for k in range(3)])
    hr = np.einsum("kc,khw->chw", spectra / 3, np.stack(fields)).astype(np.float32)
    response = rng.random((msi_bands, bands)) + 0.1
    response /= response.sum(axis=1, keepdims=True)
    return hr, PSF.downsample(hr, SCALE), apply_response(response, hr), response


@pytest.fixture(scope="module")
def make(params, settings_of):
    """An untrained model; its last layer is no longer zero, so that its noise shows."""
    sizes = {
        "fusion-fast-regression": {"components": 4, "width": 8, "blocks": 1},
        "hsrdiff": {
            "net": {"width": 8, "heads": 2, "window": 4},
            "progressive": [{"until": 1.0, "size": 16, "batch": 1, "trains": "all"}],
        },
        "ddpmfus": {"unet": {"width": 8, "multipliers": [1], "attention": []}},
        "residual-fusion": {"width": 8, "blocks": 1},
    }

    def make(name, *, objective="diffusion", response=None, stir=0.0, **sampling):
        response = scene()[3] if response is None else response
        changes = sizes[name] | ({} if name == "residual-fusion" else {"objective": objective})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pairing = Pairing(BANDS, 3, SCALE, PSF)
            model = methods()[name].made_for(pairing, settings_of(name, **changes), response, patch=16)
            if stir:
                for parameter in model.parameters():
                    parameter.data.add_(stir * torch.randn_like(parameter))
        how = {"steps": 2, "samples": 1, "consistency": 1, "sampler": "ddim", "tile": 64, **sampling}
        model.eval().requires_grad_(False)
        return model.with_sampling(params.sampling.model_copy(update=how))

    return make


@pytest.mark.parametrize("name", NAMES)
def test_one_protocol_and_consistency_with_both_images(make, name):
    model = make(name, stir=0.05)
    hr, lr, msi, response = scene()
    assert isinstance(model, SuperResolver)
    assert isinstance(model, SceneResolver)
    assert isinstance(model, SampleResolver)
    sr = model.predict(lr[None], msi=msi[None])[0]
    assert (sr.shape, sr.dtype) == (hr.shape, np.float32)
    assert psnr_db(np.square(PSF.downsample(sr, SCALE) - lr).mean()) > 65
    assert psnr_db(np.square(apply_response(response, sr) - msi).mean()) > 65
    np.testing.assert_array_equal(sr, model.predict(np.stack([lr, lr]), msi=np.stack([msi, msi]))[1])


@pytest.mark.parametrize("name", ["fusion-fast-regression", "ddpmfus", "hsrdiff"])
def test_samples_differ_and_their_mean_has_a_spread(make, name):
    model = make(name, stir=0.05, consistency=0)
    _, lr, msi, _ = scene()
    _, none = model.predict_with_spread(lr[None], count=1, msi=msi[None])
    assert not none.any()
    mean, spread = model.predict_with_spread(lr[None], count=3, msi=msi[None])
    assert spread.mean() > 0
    assert not np.array_equal(mean, model.predict(lr[None], msi=msi[None]))
    regression = make(name, objective="regression", samples=3)
    assert (regression.samples, regression.nfe, regression.varies) == (1, 1, False)


def test_what_does_not_fit_is_refused_with_advice(make):
    model = make("hsrdiff")
    _, lr, msi, _ = scene()
    with pytest.raises(ModelInputError, match=r"no HR-MSI.*give it as msi="):
        model.predict(lr[None])
    with pytest.raises(ModelInputError, match=r"40 x 48 pixels for an LR-HSI of 12 x 12.*one whole number; crop"):
        model.predict(lr[None], msi=msi[None, :, :40])
    with pytest.raises(ModelInputError, match=r"the ratio is 2; take a model of that scale"):
        model.predict(lr[None], msi=np.ascontiguousarray(msi[None, :, ::2, ::2]))
    bad = msi.copy()
    bad[1, 3, 3] = np.nan
    with pytest.raises(ModelInputError, match="1 NaN or Inf values, the first in band 2"):
        model.predict(lr[None], msi=bad[None])
    with pytest.raises(ModelInputError, match="2 HR-MSI for 1 LR-HSI"):
        model.predict(lr[None], msi=np.stack([msi, msi]))
    with pytest.raises(ModelInputError, match="HR-MSI of 2 bands, expected 3"):
        model.predict(lr[None], msi=msi[None, :2])


@pytest.mark.parametrize(("objective", "name"), [("diffusion", "hsrdiff"), ("regression", "regression")])
def test_a_model_saved_before_regressions_had_names_of_their_own_still_loads(make, tmp_path, objective, name):
    model = make("hsrdiff", objective=objective, stir=0.05)
    _, lr, msi, _ = scene()
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("steps_of", "response"):
        del config["sampling"][key]
    (tmp_path / "config.json").write_text(json.dumps({**config, "name": name}))
    write_manifest(tmp_path)
    loaded, expected = load_model(tmp_path), {"hsrdiff": "hsrdiff", "regression": "hsrdiff-regression"}[name]
    assert (loaded.name, saved_name(tmp_path)) == (expected, expected)
    np.testing.assert_array_equal(loaded.predict(lr[None], msi=msi[None]), model.predict(lr[None], msi=msi[None]))


@pytest.mark.parametrize(("bands", "msi_bands"), [(3, 1), (7, 3), (25, 8)])
def test_fusion_fast_serves_any_sensors_and_starts_far_above_interpolation(make, bands, msi_bands):
    """Untrained, it is its start, with a response that it estimates from the pair where the training's does not fit."""
    model = make("fusion-fast-regression")
    hr, lr, msi, _ = scene(bands, msi_bands)
    sr = model.predict(lr[None], msi=msi[None])[0]
    gain = mpsnr_db(band_mse(sr, hr)) - mpsnr_db(band_mse(Bicubic(SCALE).predict(lr[None])[0], hr))
    assert gain > 3
    assert (model.bands, model.msi_bands) == (None, None)
    ceiling = model.ceiling(lr, msi, hr)
    assert mpsnr_db(band_mse(ceiling, hr)) >= mpsnr_db(band_mse(sr, hr))


def test_an_estimated_response_is_the_scenes_own(make):
    hr, lr, msi, response = scene()
    wrong = make("fusion-fast-regression", response=response[::-1])
    own = wrong.with_sensors(response="estimated")
    errors = [mpsnr_db(band_mse(model.predict(lr[None], msi=msi[None])[0], hr)) for model in (wrong, own)]
    assert errors[1] > errors[0] + 3


def test_tiles_of_a_scene_share_its_subspace_and_blend_without_a_seam(make):
    model = make("fusion-fast-regression", stir=0.02, samples=2)
    _, lr, msi, _ = scene(size=96)
    whole = predict_scene(model, lr, tile=24, overlap=0, msi=msi)
    tiled, spread = predict_scene_with_spread(model, lr, count=2, tile=16, overlap=4, msi=msi)
    assert np.abs(whole - tiled).mean() < 0.1 * np.abs(whole - Bicubic(SCALE).predict(lr[None])[0]).mean()
    assert spread.shape == whole.shape
    bound = model.for_scene(lr, msi)
    corner = bound.given(model.tensor(lr[:, :8, :8]), model.tensor(msi[:, :32, :32]))
    assert corner.subspace is bound._scene.subspace


def test_degenerate_scenes_stay_finite(make):
    model = make("fusion-fast-regression", stir=0.02)
    for value in (0.0, 0.4):
        lr, msi = np.full((1, BANDS, 4, 4), value, np.float32), np.full((1, 3, 16, 16), value, np.float32)
        sr = model.predict(lr, msi=msi)
        assert np.isfinite(sr).all()


@pytest.mark.parametrize("overlap", [0, 4])
def test_a_scene_in_tiles_is_still_consistent(make, overlap):
    model = make("fusion-fast-regression", stir=0.02)
    _, lr, msi, _ = scene(size=96)
    sr = predict_scene(model, lr, tile=12, overlap=overlap, msi=msi)
    assert psnr_db(np.square(PSF.downsample(sr, SCALE) - lr).mean()) > 45
    inside = np.s_[:, 2:10, 2:10]  # away from the tiles' borders, where a PSF sees across
    assert psnr_db(np.square((PSF.downsample(sr, SCALE) - lr)[inside]).mean()) > 60


def test_without_consistency_a_prediction_is_what_the_network_says(make):
    loose, bound = (make("fusion-fast-regression", stir=0.02, consistency=value) for value in (0, 1))
    _, lr, msi, _ = scene()
    free, held = (model.predict(lr[None], msi=msi[None])[0] for model in (loose, bound))
    gaps = [np.square(PSF.downsample(sr, SCALE) - lr).mean() for sr in (free, held)]
    assert gaps[0] > 10 * gaps[1]


def test_a_small_image_of_another_sensor_takes_the_stored_response_where_it_fits(make):
    """Of fewer LR pixels than bands nothing can be estimated."""
    _, lr, msi, _ = scene()
    model = make("fusion-fast-regression").with_sensors(response="estimated")
    given = model.given(model.tensor(lr[:, :2, :2]), model.tensor(msi[:, :8, :8]))
    assert given.pair.response is model.response
