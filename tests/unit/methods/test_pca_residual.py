import json

import numpy as np
import pytest
import torch

import hsipipe
from hsipipe.artifacts import ControlCheckpoint
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.degradation.psf import Psf
from hsipipe.errors import IntegrityError, ModelInputError
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.storage.manifest import write_manifest

BANDS, SCALE = 12, 4


def build(*, untrained=False, components=5, scale=SCALE, **changes) -> PcaResidual:
    torch.manual_seed(0)
    model = PcaResidual(BANDS, components=components, width=8, blocks=2, scale=scale, **changes)
    spectra = torch.rand(200, 3) @ torch.rand(3, BANDS) + 0.1 * torch.rand(200, BANDS)
    model.set_components(spectra, 0.1 * torch.randn(200, BANDS))
    if not untrained:
        torch.nn.init.normal_(model.tail.weight, std=0.1)
    return model.eval().requires_grad_(False)


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((3, BANDS, 6, 5), dtype=np.float32)


def test_it_is_a_super_resolver(lr):
    model = build()
    assert isinstance(model, SuperResolver)
    assert (model.name, model.scale, model.bands, model.nfe) == ("pca-residual", SCALE, BANDS, 1)
    sr = model.predict(lr)
    assert sr.shape == (3, BANDS, 24, 20)
    assert sr.dtype == np.float32


def test_untrained_it_is_bicubic_interpolation(lr):
    np.testing.assert_allclose(build(untrained=True).predict(lr), upsample(lr, SCALE), atol=1e-5)


def test_at_scale_one_it_stays_on_the_grid_and_starts_at_the_input(lr):
    np.testing.assert_array_equal(build(untrained=True, scale=1).predict(lr), lr)
    sr = build(scale=1).predict(lr)
    assert sr.shape == lr.shape
    assert np.abs(sr - lr).max() > 1e-3


def test_what_it_adds_lies_in_the_components(lr):
    model = build(components=3)
    added = (model.predict(lr) - upsample(lr, SCALE)).transpose(0, 2, 3, 1).reshape(-1, BANDS)
    basis = model.basis.numpy()
    assert np.abs(added).max() > 1e-3
    np.testing.assert_allclose(added @ basis.T @ basis, added, atol=1e-5)


def test_inside_spectra_and_what_is_missing_have_unit_size():
    torch.manual_seed(0)
    model = PcaResidual(BANDS, components=5, width=8, blocks=2, scale=SCALE)
    spectra, missing = torch.rand(400, BANDS), 0.01 * torch.randn(400, BANDS)
    model.set_components(spectra, missing)
    for pixels, scale in ((spectra - spectra.mean(dim=0), model.component_std), (missing, model.residual_rms)):
        whitened = pixels @ model.basis.T / scale[:, 0, 0]
        torch.testing.assert_close(whitened.square().mean(dim=0).sqrt(), torch.ones(5))
    torch.testing.assert_close(model.basis @ model.basis.T, torch.eye(5), atol=1e-5, rtol=0)


def test_there_are_no_more_components_than_bands(lr):
    model = build(components=20)
    assert model.components == BANDS
    assert model.predict(lr).shape == (3, BANDS, 24, 20)


def test_a_prediction_does_not_depend_on_its_neighbours(lr):
    model = build()
    together = model.predict(lr)
    for image, expected in zip(lr, together, strict=True):
        np.testing.assert_array_equal(model.predict(image[None])[0], expected)


def test_turned_and_read_only_arrays_are_taken(lr):
    model = build()
    turned = lr[:, :, ::-1]
    expected = model.predict(np.ascontiguousarray(turned))
    np.testing.assert_array_equal(model.predict(turned), expected)
    lr.setflags(write=False)
    model.predict(lr)


def test_back_projection_brings_it_to_the_input(lr):
    away = [np.abs(downsample(build(consistency=n).predict(lr), SCALE) - lr).mean() for n in (0, 3)]
    assert away[1] < 0.3 * away[0]


def test_a_saved_model_is_found_by_its_kind_and_predicts_the_same(lr, tmp_path):
    model = build(psf=Psf("gaussian", sigma=1.5), consistency=1)
    model.save(tmp_path)
    write_manifest(tmp_path)
    loaded = hsipipe.load_model(tmp_path)
    assert isinstance(loaded, PcaResidual)
    np.testing.assert_array_equal(loaded.predict(lr), model.predict(lr))


def test_how_much_is_back_projected_is_decided_when_it_is_used(lr, tmp_path):
    build().save(tmp_path)
    used = PcaResidual.from_checkpoint(ControlCheckpoint(tmp_path), consistency=2)
    np.testing.assert_array_equal(used.predict(lr), build(consistency=2).predict(lr))


def test_another_band_count_is_refused(lr):
    with pytest.raises(ModelInputError, match="Got 11 bands"):
        build().predict(lr[:, :11])


def test_a_config_of_another_size_is_refused(tmp_path):
    build().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "width": 9}))
    with pytest.raises(IntegrityError, match="do not fit"):
        PcaResidual.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"kind": "pca-residual"}))
    with pytest.raises(IntegrityError, match="does not describe this model"):
        PcaResidual.load(tmp_path)
