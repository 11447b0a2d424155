"""What pca-residual computes, beyond the contract of all methods."""

import json

import numpy as np
import pytest
import torch

import hsipipe
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import back_project
from hsipipe.errors import IntegrityError, ModelInputError, ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.catalogue import saved_name
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.storage.manifest import write_manifest

BANDS, SCALE = 12, 4


@pytest.fixture
def build(settings_of):
    """A function that makes a model, with a last convolution that is no longer zero unless it is untrained."""

    def build(*, untrained=False, components=5, scale=SCALE, psf=None, consistency=0, **changes) -> PcaResidual:
        torch.manual_seed(0)
        settings = settings_of("pca-residual", components=components, width=8, blocks=2, **changes)
        model = PcaResidual(Frame(BANDS, scale, psf or Psf()), settings)
        spectra = torch.rand(200, 3) @ torch.rand(3, BANDS) + 0.1 * torch.rand(200, BANDS)
        model.set_components(spectra, 0.1 * torch.randn(200, BANDS))
        if not untrained:
            torch.nn.init.normal_(model.tail.weight, std=0.1)
        model.consistency = consistency
        return model.eval().requires_grad_(False)

    return build


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((3, BANDS, 6, 5), dtype=np.float32)


def test_untrained_it_is_bicubic_interpolation(build, lr):
    np.testing.assert_allclose(build(untrained=True).predict(lr), upsample(lr, SCALE), atol=1e-5)


def test_at_scale_one_it_stays_on_the_grid_and_starts_at_the_input(build, lr):
    np.testing.assert_array_equal(build(untrained=True, scale=1).predict(lr), lr)
    sr = build(scale=1).predict(lr)
    assert sr.shape == lr.shape
    assert np.abs(sr - lr).max() > 1e-3


def test_what_it_adds_lies_in_the_components(build, lr):
    model = build(components=3)
    added = (model.predict(lr) - upsample(lr, SCALE)).transpose(0, 2, 3, 1).reshape(-1, BANDS)
    basis = model.basis.numpy()
    assert np.abs(added).max() > 1e-3
    np.testing.assert_allclose(added @ basis.T @ basis, added, atol=1e-5)


def test_inside_spectra_and_what_is_missing_have_unit_size(build):
    model = build(untrained=True)
    spectra, missing = torch.rand(400, BANDS), 0.01 * torch.randn(400, BANDS)
    model.set_components(spectra, missing)
    for pixels, scale in ((spectra - spectra.mean(dim=0), model.component_std), (missing, model.residual_rms)):
        whitened = pixels @ model.basis.T / scale[:, 0, 0]
        torch.testing.assert_close(whitened.square().mean(dim=0).sqrt(), torch.ones(5))
    torch.testing.assert_close(model.basis @ model.basis.T, torch.eye(5), atol=1e-5, rtol=0)


def test_there_are_no_more_components_than_bands(build, lr):
    model = build(components=20)
    assert len(model.basis) == BANDS
    assert model.predict(lr).shape == (3, BANDS, 24, 20)


def test_turned_and_read_only_arrays_are_taken(build, lr):
    model = build()
    turned = lr[:, :, ::-1]
    expected = model.predict(np.ascontiguousarray(turned))
    np.testing.assert_array_equal(model.predict(turned), expected)
    lr.setflags(write=False)
    model.predict(lr)


def test_back_projection_brings_it_to_the_input(build, lr):
    away = [np.abs(downsample(build(consistency=n).predict(lr), SCALE) - lr).mean() for n in (0, 3)]
    assert away[1] < 0.3 * away[0]


def test_the_self_ensemble_turns_and_mirrors_with_its_image(build, lr):
    model = build(self_ensemble=True)
    sr = model.predict(lr)
    np.testing.assert_allclose(model.predict(np.ascontiguousarray(lr[..., ::-1])), sr[..., ::-1], atol=1e-5)
    turned = np.ascontiguousarray(np.rot90(lr, axes=(2, 3)))
    np.testing.assert_allclose(model.predict(turned), np.rot90(sr, axes=(2, 3)), atol=1e-5)
    plain = build()
    views = [np.rot90(plain.predict(np.ascontiguousarray(np.rot90(lr, k, (2, 3)))), -k, (2, 3)) for k in range(4)]
    mirrored = np.ascontiguousarray(lr[..., ::-1])
    views += [
        np.rot90(plain.predict(np.ascontiguousarray(np.rot90(mirrored, k, (2, 3)))), -k, (2, 3))[..., ::-1]
        for k in range(4)
    ]
    np.testing.assert_allclose(sr, np.mean(views, axis=0), atol=1e-5)
    assert (model.nfe, plain.nfe) == (8, 1)


def test_the_self_ensemble_needs_a_psf_that_can_be_mirrored(build):
    off = Psf("gaussian", sigma=1.5, phase=1)
    build(psf=off)
    with pytest.raises(ParamsError, match="expected one at the centre"):
        build(psf=off, self_ensemble=True)


def test_a_model_saved_with_its_sizes_side_by_side_still_loads(build, lr, tmp_path):
    model = build(psf=Psf("gaussian", sigma=1.5), consistency=1)
    model.save(tmp_path)
    psf = {"kind": "gaussian", "sigma": 1.5, "mtf": None, "size": None, "phase": None}
    sizes = {"bands": BANDS, "components": 5, "width": 8, "blocks": 2, "scale": SCALE}
    earlier = {"kind": "pca-residual", **sizes, "psf": psf, "consistency": 1}
    (tmp_path / "config.json").write_text(json.dumps(earlier))
    write_manifest(tmp_path)
    loaded = hsipipe.load_model(tmp_path)
    assert (loaded.name, saved_name(tmp_path)) == ("pca-residual", "pca-residual")
    np.testing.assert_array_equal(loaded.predict(lr), model.predict(lr))


def test_a_config_of_another_size_is_refused(build, tmp_path):
    build().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "settings": {**config["settings"], "width": 9}}))
    with pytest.raises(IntegrityError, match="do not fit"):
        PcaResidual.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"kind": "pca-residual"}))
    with pytest.raises(IntegrityError, match="does not describe this model"):
        PcaResidual.load(tmp_path)


@pytest.mark.parametrize("psf", [Psf(), Psf("gaussian", mtf=0.3)], ids=["bicubic", "gaussian"])
@pytest.mark.parametrize("self_ensemble", [False, True])
def test_its_back_projection_on_the_lr_grid_is_that_of_the_cube(build, lr, psf, self_ensemble):
    model = build(psf=psf, self_ensemble=self_ensemble)
    image = torch.from_numpy(lr[:1])
    resampler = model.resampler(image)
    sr = torch.from_numpy(model.predict(lr[:1]))
    expected = back_project(sr, image, resampler=resampler, iterations=3)
    model.consistency = 3
    np.testing.assert_allclose(model.predict(lr[:1]), expected, atol=2e-6)


def test_its_parts_expand_to_the_prediction(build, lr):
    model = build(consistency=2)
    low, components = model.parts(lr)
    expanded = upsample(low, SCALE) + np.einsum("kc,bkhw->bchw", model.spectra, components)
    np.testing.assert_allclose(expanded, model.predict(lr), atol=2e-6)
    with pytest.raises(ModelInputError, match="HR-MSI"):
        model.parts(lr, msi=lr)
