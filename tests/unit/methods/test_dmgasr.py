import json

import numpy as np
import pytest
import torch

import hsipipe
from hsipipe.degradation.bicubic import downsample, upsample
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.errors import HsipipeError, IntegrityError, MissingInputError, ModelInputError, ParamsError
from hsipipe.methods.catalogue import gae_settings, method_settings, saved_name
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.dmgasr.windows import plan_windows
from hsipipe.methods.networks.unet import Unet
from hsipipe.methods.super_resolver import SampleResolver, SensorResolver, SuperResolver
from hsipipe.storage.manifest import MANIFEST, write_manifest

BANDS, SCALE = 12, 4
CENTRES = [500.0 + 20.0 * band for band in range(BANDS)]


def build(
    params,
    *,
    objective="diffusion",
    space="residual",
    scale_input=True,
    window_nm=None,
    **sampling,
) -> Dmgasr:
    torch.manual_seed(0)
    sizes = {"width": 8, "global_width": 8, "window_nm": window_nm, "global_decoder": window_nm is None}
    windows = window_nm and plan_windows(CENTRES, width_nm=window_nm, n_subs=8, n_ovls=2)
    gae = GroupAutoencoder(BANDS, gae_settings(params, "standard").model_copy(update=sizes), windows=windows)
    spectra = torch.rand(200, 3) @ torch.rand(3, BANDS)
    gae.start_at_principal_components(spectra)
    net = LatentNet(
        Unet(3, method_settings(params, "dmgasr-latent").unet.model_copy(update={"width": 8}), patch=16),
        objective=objective,
        schedule="cosine",
        steps=1000,
        space=space,
        target="x0",
        scale_input=scale_input,
        scale=SCALE,
    )
    for parameter in net.parameters():
        parameter.data.uniform_(-0.05, 0.05)
    plain = {"sampler": "ddim", "steps": 2, "samples": 1}
    return Dmgasr(gae, net, sampling=params.sampling.model_copy(update={**plain, **sampling}))


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((3, BANDS, 6, 5), dtype=np.float32)


def test_it_is_a_super_resolver(params, lr):
    model = build(params)
    assert isinstance(model, SuperResolver)
    assert isinstance(model, SampleResolver)
    sr = model.predict(lr)
    assert sr.shape == (3, BANDS, 24, 20)
    assert sr.dtype == np.float32


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_prediction_repeats_and_does_not_depend_on_its_neighbours(params, lr, sampler):
    model = build(params, sampler=sampler)
    together = model.predict(lr)
    np.testing.assert_array_equal(model.predict(lr), together)
    for image, expected in zip(lr, together, strict=True):
        np.testing.assert_array_equal(model.predict(image[None])[0], expected)


def test_groups_in_the_batch_equal_groups_one_by_one(params, lr):
    net = build(params).net
    z = torch.randn(2, 3, 3, 8, 8)
    noisy, gamma = torch.randn(2, 3, 3, 8, 8), torch.tensor([0.2, 0.7])
    together = net(noisy, z, gamma)
    one_by_one = [net(noisy[:, g : g + 1], z[:, g : g + 1], gamma) for g in range(3)]
    torch.testing.assert_close(together, torch.cat(one_by_one, dim=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("samples", [1, 2])
def test_a_piece_of_a_scene_gets_the_noise_of_its_place(params, sampler, samples):
    model = build(params, sampler=sampler, steps=3, samples=samples, residual_decode=False, consistency=0)
    lr = np.random.default_rng(3).random((1, BANDS, 60, 20), dtype=np.float32)
    away = 20 * SCALE  # beyond the reach of the upper border
    whole = [part[:, :, 30 * SCALE + away :] for part in model.predict_with_spread(lr, count=samples)]
    lower, misplaced = (
        [part[:, :, away:] for part in model.predict_with_spread(lr[:, :, 30:], count=samples, origin=origin)]
        for origin in ((30, 0), (0, 0))
    )
    for part in range(samples):  # the mean and, of two, the deviation
        gap = np.abs(whole[part] - lower[part]).mean()
        assert gap < 0.1 * np.abs(whole[part] - misplaced[part]).mean()


def test_turned_and_read_only_arrays_are_taken(params, lr):
    model = build(params)
    turned = lr[:, :, ::-1]
    expected = model.predict(np.ascontiguousarray(turned))
    np.testing.assert_array_equal(model.predict(turned), expected)
    lr.setflags(write=False)
    model.predict(lr)


@pytest.mark.parametrize(("steps", "samples"), [(1, 1), (2, 1), (4, 1), (2, 3)])
def test_nfe_counts_the_network_evaluations(params, lr, steps, samples):
    model = build(params, steps=steps, samples=samples)
    calls = []
    model.net.unet.register_forward_hook(lambda *_: calls.append(1))
    model.predict(lr[:1])
    assert len(calls) == model.nfe == steps * samples


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_prediction_is_the_mean_of_samples_and_comes_with_their_deviation(params, lr, sampler):
    model = build(params, sampler=sampler, steps=3)
    means, stds = zip(*(model.predict_with_spread(lr[:1], count=count) for count in (1, 2, 3)), strict=True)
    # Samples do not depend on how many there are, so each follows from the means before and after it.
    samples = [means[0], 2 * means[1] - means[0], 3 * means[2] - 2 * means[1]]
    assert not stds[0].any()
    np.testing.assert_allclose(stds[1], np.std(samples[:2], axis=0, ddof=1), atol=1e-5)
    np.testing.assert_allclose(stds[2], np.std(samples, axis=0, ddof=1), atol=1e-5)
    assert stds[2].mean() > 1e-4
    np.testing.assert_array_equal(build(params, sampler=sampler, steps=3, samples=3).predict(lr[:1]), means[2])
    np.testing.assert_array_equal(model.predict(lr[:1]), means[0])
    for drawn, expected in zip(model.draw(lr[:1], count=3), samples, strict=True):
        np.testing.assert_allclose(drawn, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "samples", "nfe"),
    [
        ({"objective": "regression", "steps": 4}, 1, 1),
        ({"steps": 1}, 1, 1),
        ({"steps": 1, "scale_input": False}, 4, 4),
        ({"steps": 2}, 4, 8),
    ],
)
def test_where_samples_would_be_the_same_there_is_one(params, lr, changes, samples, nfe):
    model = build(params, **changes, samples=4)
    assert (model.samples, model.nfe) == (samples, nfe)
    assert model.varies == (samples > 1)


def test_one_evaluation_that_sees_no_noise_hardly_depends_on_it(params, lr):
    """What it costs to take one sample for all of them there."""
    one, other = (build(params, steps=1, seed=seed).predict(lr[:1]) for seed in (0, 1))
    assert np.abs(one - other).max() < 1e-4


def test_regression_takes_one_evaluation(params, lr):
    model = build(params, objective="regression", steps=4)
    assert (model.name, model.nfe) == ("dmgasr-regression", 1)
    assert model.predict(lr).shape == (3, BANDS, 24, 20)


def test_residual_decoding_of_no_change_is_the_interpolation(params, lr):
    model = build(params, residual_decode=True, consistency=0)
    for parameter in model.net.unet.tail.parameters():
        parameter.data.zero_()
    model.sampling = model.sampling.model_copy(update={"steps": 1})
    np.testing.assert_allclose(model.predict(lr), upsample(lr, SCALE), atol=1e-4)


def test_consistency_brings_the_degraded_output_to_the_input(params, lr):
    gaps = []
    for iterations in (0, 2, 20):
        sr = build(params, consistency=iterations).predict(lr)
        gaps.append(np.square(downsample(sr, SCALE) - lr).mean())
    assert gaps[2] < gaps[1] < gaps[0]
    assert -10 * np.log10(gaps[2]) > 50


def test_the_ceiling_is_the_autoencoder_with_the_true_latent(params):
    model = build(params, residual_decode=False, consistency=0)
    hr = np.random.default_rng(1).random((BANDS, 16, 16), dtype=np.float32)
    expected = model.gae(torch.from_numpy(hr[None]))[0].numpy()
    np.testing.assert_allclose(model.ceiling(downsample(hr, SCALE), hr), expected, atol=1e-5)


@pytest.mark.parametrize("space", ["residual", "latent"])
def test_clean_and_latent_are_inverse(params, space):
    net = build(params, space=space).net
    z_hr, z_lr = torch.randn(2, 1, 3, 3, 4, 4)
    std = torch.rand(3, 3, 1, 1) + 0.5
    torch.testing.assert_close(net.latent(net.clean(z_hr, z_lr, std), z_lr, std), z_hr)


def test_saved_and_loaded_predicts_the_same_bits(params, lr, tmp_path):
    model = build(params)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    write_manifest(tmp_path)
    np.testing.assert_array_equal(hsipipe.load_model(tmp_path).predict(lr), model.predict(lr))


@pytest.mark.parametrize(("objective", "name"), [("diffusion", "dmgasr"), ("regression", "dmgasr-regression")])
def test_a_model_saved_before_names_and_samples_still_loads(params, lr, tmp_path, objective, name):
    model = build(params, objective=objective, steps=2)
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["name"]
    for key in ("samples", "steps_of", "response"):
        del config["sampling"][key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_manifest(tmp_path)
    loaded = hsipipe.load_model(tmp_path)
    assert (loaded.name, saved_name(tmp_path), loaded.samples) == (name, name, 1)
    np.testing.assert_array_equal(loaded.predict(lr), model.predict(lr))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :5], "Got 5 bands"),
        (lambda x: x[0], "expected four dimensions"),
        (lambda x: np.where(np.arange(5) == 2, np.nan, x).astype(np.float32), "NaN"),
    ],
)
def test_wrong_input_is_refused(params, lr, change, message):
    with pytest.raises(ModelInputError, match=message):
        build(params).predict(change(lr))


OTHERS = ([505.0, 523.0, *range(540, 700, 13), 712.0], CENTRES[::2], CENTRES[:8])


@pytest.mark.parametrize("objective", ["diffusion", "regression"])
@pytest.mark.parametrize("centres", OTHERS)
def test_a_model_with_windows_serves_another_sensor(params, objective, centres):
    model = build(params, objective=objective, window_nm=160.0, steps=2, samples=2)
    assert isinstance(model, SensorResolver)
    bound = model.for_wavelengths(centres)
    smooth = np.sin(np.asarray(centres)[:, None, None] / 60 + np.arange(30).reshape(5, 6) / 10)
    lr = (0.5 + 0.3 * smooth[None]).astype(np.float32)
    sr = bound.predict(lr)
    assert sr.shape == (1, len(centres), 20, 24)
    assert np.abs(sr - upsample(lr, SCALE)).max() > 1e-3  # the network has its say
    with pytest.raises(ModelInputError, match=r"expected 12; give the cube its wavelengths, .*for_wavelengths"):
        model.predict(lr)


def test_bound_to_its_own_sensor_it_predicts_the_same_bits(params, lr):
    model = build(params, window_nm=160.0)
    expected = model.predict(lr)
    np.testing.assert_array_equal(model.for_wavelengths(CENTRES).predict(lr), expected)
    there_and_back = model.for_wavelengths(CENTRES[::2]).for_wavelengths(CENTRES)
    np.testing.assert_array_equal(there_and_back.predict(lr), expected)
    np.testing.assert_array_equal(model.predict(lr), expected)


@pytest.mark.parametrize("centres", OTHERS)
def test_residual_decoding_of_no_change_keeps_any_spectrum(params, centres):
    model = build(params, window_nm=160.0, consistency=0, steps=1)
    for parameter in model.net.unet.tail.parameters():
        parameter.data.zero_()
    lr = np.random.default_rng(2).random((1, len(centres), 5, 6), dtype=np.float32)
    np.testing.assert_allclose(model.for_wavelengths(centres).predict(lr), upsample(lr, SCALE), atol=1e-4)


def test_plain_decoding_would_lose_what_resampling_loses(params, lr):
    model = build(params, window_nm=160.0, residual_decode=False)
    with pytest.raises(ParamsError, match="set it to true"):
        model.for_wavelengths(CENTRES[::2])
    np.testing.assert_array_equal(model.for_wavelengths(CENTRES).predict(lr), model.predict(lr))


def test_saved_with_windows_it_serves_the_trained_sensor_and_others(params, lr, tmp_path):
    model = build(params, window_nm=160.0)
    model.for_wavelengths(CENTRES[::2]).save(tmp_path)
    write_manifest(tmp_path)
    loaded = hsipipe.load_model(tmp_path)
    assert loaded.wavelength_nm == tuple(CENTRES)
    np.testing.assert_array_equal(loaded.predict(lr), model.predict(lr))
    other = np.ascontiguousarray(lr[:, ::2])
    expected = model.for_wavelengths(CENTRES[::2]).predict(other)
    np.testing.assert_array_equal(loaded.for_wavelengths(CENTRES[::2]).predict(other), expected)


def test_a_model_of_bands_by_number_says_how_to_get_one_for_any_sensor(params):
    model = build(params)
    assert model.wavelength_nm is None
    with pytest.raises(ModelInputError, match=r"train one with gae.standard.window_nm, .*global_decoder: false"):
        model.for_wavelengths(CENTRES)


def _truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _flip(folder):
    write_manifest(folder)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _rename(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "kind": "dmgasrr"}))


def _widen(folder):
    config = json.loads((folder / "config.json").read_text())
    config["gae"]["params"]["width"] = 16
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_truncate, IntegrityError, "truncated or corrupt"),
        (_rename, HsipipeError, "Did you mean 'dmgasr'"),
        (_widen, IntegrityError, "do not fit"),
        (lambda folder: (folder / "config.json").write_text('{"kind": "dmgasr"}'), IntegrityError, "not describe this"),
        (_flip, IntegrityError, "model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), MissingInputError, "holds no model"),
        (lambda folder: (folder / "model.safetensors").unlink(), MissingInputError, "holds no weights"),
        (lambda folder: (folder / "config.json").write_text("{"), IntegrityError, "is not JSON"),
    ],
)
def test_a_damaged_folder_is_refused(params, tmp_path, damage, error, message):
    build(params).save(tmp_path)
    damage(tmp_path)
    if not (tmp_path / MANIFEST).exists():
        write_manifest(tmp_path)
    with pytest.raises(error, match=message):
        hsipipe.load_model(tmp_path)
