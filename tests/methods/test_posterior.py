"""Posteriors: samples, scale, calibrated intervals, sharp mode."""

import numpy as np
import pytest
import torch

from hsipipe.artifacts import TrainedMethod
from hsipipe.errors import MissingInputError, ModelInputError, ParamsError
from hsipipe.evaluation.metrics import psnr_db
from hsipipe.methods.base import TrainingData, sample_of, validation_psnr_db
from hsipipe.methods.catalogue import load_model, method_settings
from hsipipe.methods.posterior.frame import Residual, ResidualFrame
from hsipipe.methods.posterior.method import Posterior
from hsipipe.methods.samples import interval_factor, moments
from hsipipe.params import HardwareParams, SamplingParams
from hsipipe.patches.sample import PATCHES
from hsipipe.storage.publish import publish
from hsipipe.training.outcome import read_outcome
from hsipipe.training.train import train_method

SAMPLING = SamplingParams.saved(
    {"sampler": "dpmpp_2m", "steps": 8, "residual_decode": True, "consistency": 2, "tile": 8, "overlap": 2, "seed": 0}
)
HARDWARE = HardwareParams(accelerator="cpu", precision="32-true", compile=False, devices=1)
BOTH = ("pca-residual-diffusion", "fusion-fast")


@pytest.fixture
def prepared(untrained):
    """A function that makes an untrained posterior, ready to predict."""

    def prepared(name="pca-residual-diffusion", **sampling):
        return untrained(name)[0].prepared(SAMPLING.model_copy(update=sampling))

    return prepared


def given(method, images):
    lr, msi = images
    return {"lr": lr, "msi": msi if method.FUSES else None}


def test_the_frame_holds_the_residual_and_its_scales():
    generator = torch.Generator().manual_seed(0)
    prediction, up, noise = (torch.rand(4, 5, 16, 16, generator=generator) for _ in range(3))
    scales = torch.tensor([0.5, 0.1, 0.02, 0.001, 0.001])[:, None, None]
    hr = prediction + scales * (noise - 0.5)
    frame = ResidualFrame(5, 3, 2)
    frame.measure([Residual(prediction, up, hr)])
    assert (frame.low, frame.high) == (-np.inf, np.inf)
    torch.testing.assert_close(frame.basis @ frame.basis.T, torch.eye(3), atol=1e-5, rtol=0)
    coordinates = frame.coordinates(hr - prediction)
    torch.testing.assert_close(coordinates.square().mean(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    rest = hr - prediction - frame.cube(coordinates)
    torch.testing.assert_close(rest.square().mean(dim=(0, 2, 3)).sqrt(), frame.outside.ravel(), atol=1e-5, rtol=1e-3)
    assert frame.condition(prediction, up).shape == (4, frame.conditions, 16, 16)


@pytest.mark.parametrize("name", BOTH)
def test_the_prediction_is_that_of_the_regression(prepared, images, name):
    method = prepared(name)
    np.testing.assert_array_equal(method.predict(**given(method, images)), method.mean.predict(**given(method, images)))
    assert (method.nfe, method.sample_nfe, method.varies) == (method.mean.nfe, 8, True)


@pytest.mark.parametrize("name", BOTH)
def test_every_sample_is_as_consistent_with_the_observations_as_the_prediction(prepared, images, name):
    method = prepared(name)

    def seen(cubes):
        return np.stack([method.psf.downsample(image, 4) for image in cubes])

    predicted = seen(method.predict(**given(method, images)))

    def consistency_db(method):
        return [psnr_db(np.square(seen(it) - predicted).mean()) for it in method.draw(**given(method, images), count=2)]

    within = prepared(name)
    within.parts.low.fill_(-torch.inf)
    within.parts.high.fill_(torch.inf)
    assert min(consistency_db(within)) > 80
    loose = max(consistency_db(prepared(name, consistency=0)))
    assert loose < 60
    # Where the range would be left, both conditions hold nearly.
    assert min(consistency_db(method)) > loose + 6


@pytest.mark.parametrize("name", BOTH)
def test_no_sample_leaves_the_range_of_the_training_further_than_the_prediction(prepared, images, name):
    method = prepared(name)
    prediction = method.predict(**given(method, images))
    low, high = float(method.parts.low), float(method.parts.high)
    for sample in method.draw(**given(method, images), count=2):
        assert np.all(sample >= np.minimum(low, prediction) - 1e-6)
        assert np.all(sample <= np.maximum(high, prediction) + 1e-6)


def test_an_untrained_diffusion_samples_the_predicted_scale(prepared, images):
    """Its zero output is the exact denoiser of a standard normal x_0."""
    method = prepared(consistency=0)
    deviation = moments(method.draw(images[0], count=12))[1]
    basis, rms = method.parts.basis, method.parts.rms.ravel()
    expected = ((basis.T**2) @ rms**2 + method.parts.outside.ravel() ** 2).sqrt()
    np.testing.assert_allclose(np.sqrt(np.square(deviation).mean(axis=(0, 2, 3))), expected, rtol=0.08)


def test_samples_depend_on_their_number_and_not_on_how_many_there_are(prepared, images):
    method = prepared()
    three = list(method.draw(images[0], count=3))
    for one, other in zip(method.draw(images[0], count=2), three, strict=False):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(three[0], three[1])
    prediction, deviation = method.predict_with_spread(images[0], count=3)
    np.testing.assert_array_equal(prediction, method.predict(images[0]))
    np.testing.assert_allclose(deviation, np.std(three, axis=0, ddof=1), atol=1e-5)


def test_calibrated_intervals_hold_nine_of_ten_values_of_the_validation(untrained):
    method, data = untrained("pca-residual-heteroscedastic")
    val = data.val.read(range(len(data.val)))
    method.parts.rms.mul_(0.2)  # far too sure
    method.calibrate(val)
    assert method.interval_scale > 2
    inside = []
    for lr, hr in zip(val["lr"], val["hr"], strict=True):
        prediction, deviation = method.predict_with_spread(lr[None], count=method.settings.validation_samples)
        half = (
            deviation * interval_factor(method.settings.validation_samples, around_mean=False) * method.interval_scale
        )
        inside.append(np.mean(np.abs(hr - prediction[0]) <= half[0]))
    assert np.mean(inside) == pytest.approx(0.9, abs=0.01)


def test_the_largest_predicted_error_is_chosen_on_the_validation(untrained):
    """Few pixels with far too large a scale, as beyond the training, are held back; the others keep their scale."""
    method, data = untrained("pca-residual-heteroscedastic")
    val = data.val.read(range(len(data.val)))
    scale = method.spread.log_scale

    def exploding(condition):
        log = scale(condition).clone()
        log[..., :2, :2] += 4.0
        return log

    method.spread.log_scale = exploding
    method.calibrate(val)
    (image,) = method._images(val["lr"][:1], None, (0, 0))
    inside = float(image.level[..., 4:, 4:].max())
    assert inside <= float(method.cap) < float(image.level[..., :2, :2].min())
    deviation = method.predict_with_spread(val["lr"][:1], count=24)[1]
    assert np.sqrt(np.square(deviation[..., :2, :2]).sum(axis=1)).mean() < 2 * float(method.cap)


def test_from_too_few_patches_no_largest_error_is_chosen(untrained):
    method, data = untrained("pca-residual-heteroscedastic")
    method.calibrate(data.val.read(range(3)))
    assert float(method.cap) == np.inf


def test_its_range_is_that_of_the_training(untrained):
    method, data = untrained("pca-residual-diffusion")
    hr = data.train.read(range(len(data.train)))["hr"]
    assert (float(method.parts.low), float(method.parts.high)) == (hr.min(), hr.max())


def test_the_record_of_a_training_is_what_the_saved_model_does(params, store, regression, tmp_path):
    """It is calibrated without dropout, and judged again with the largest error."""
    settings = method_settings(params, "pca-residual-diffusion")
    nets = {
        name: getattr(settings, name).model_copy(update={"dropout": 0.5}) for name in ("scale_net", "diffusion_net")
    }
    (tmp_path / "work").mkdir()
    with publish(tmp_path / "model") as out:
        summary = train_method(
            "pca-residual-diffusion",
            settings.model_copy(update=nets),
            store,
            out,
            mean=TrainedMethod(regression("pca-residual").path),
            hardware=HARDWARE,
            work=tmp_path / "work",
            log=lambda step, metrics: None,
        )
    model = load_model(tmp_path / "model")
    kept = [model.cap.clone(), model.interval.clone()]
    found = model.calibrate(sample_of(store.open("val", model.ARRAYS), PATCHES))
    assert found == {"val_crps_gain_db": summary["val_crps_gain_db"]}
    assert [model.cap, model.interval] == kept
    assert read_outcome(tmp_path / "model")["val_crps_gain_db"] == summary["val_crps_gain_db"]


def test_the_noise_of_the_sharp_mode_costs_what_it_may(untrained):
    method, data = untrained("pca-residual-diffusion")
    val = data.val.read(range(len(data.val)))
    method.calibrate(val)
    sharp = method.prepared(method.sampling.model_copy(update={"mode": "sharp"}))
    lost = validation_psnr_db(method, val) - validation_psnr_db(sharp, val)
    assert lost == pytest.approx(0.8, abs=0.25)
    assert 0 < float(method.sharp_noise) < 1


def test_the_sharp_mode_lies_between_the_prediction_and_a_sample(prepared, images):
    plain, sharp = prepared(), prepared(mode="sharp")
    prediction, sample = plain.predict(images[0]), next(plain.draw(images[0], count=1))
    image = sharp.predict(images[0])
    assert 0.2 < np.abs(image - prediction).mean() / np.abs(sample - prediction).mean() < 0.8
    assert sharp.nfe == sharp.mean.nfe + sharp.sampling.sharp.steps
    assert not sharp.varies
    with pytest.raises(ModelInputError, match="draws no samples in the sharp mode"):
        sharp.draw(images[0], count=2)


def test_without_a_diffusion_there_is_no_sharp_mode(untrained, images):
    method = untrained("pca-residual-heteroscedastic")[0].prepared(SAMPLING.model_copy(update={"mode": "sharp"}))
    np.testing.assert_array_equal(method.predict(images[0]), method.mean.predict(images[0]))
    assert (method.can_be_sharp, method.nfe) == (False, method.mean.nfe)


def test_a_copy_has_an_interval_of_its_own(prepared):
    method = prepared()
    copy = method.with_mean(method.mean)
    copy.interval = torch.tensor(3.0)
    assert (method.interval_scale, copy.interval_scale) == (1.0, 3.0)


def test_in_denoising_no_sample_returns_to_the_noise(make_store, params, train, tmp_path):
    """At scale 1 without a PSF the input is what a projection would bring back."""
    psf = {"kind": "none", "sigma": None, "mtf": None, "size": None, "phase": None}
    noisy = {"task": "denoise", "scale": 1, "psf": psf, "snr_db": {"lr": 20.0, "msi": None}, "srf": None}
    store = make_store(tmp_path / "noisy", degradation=noisy, sampling={"consistency": 0, "residual_decode": False})
    quiet = {"log": lambda step, metrics: None, "hardware": HARDWARE}
    for name in ("regression", "posterior"):
        (tmp_path / f"work-{name}").mkdir()
    with publish(tmp_path / "pca-residual") as out:
        settings = method_settings(params, "pca-residual")
        train_method("pca-residual", settings, store, out, work=tmp_path / "work-regression", **quiet)
    with publish(tmp_path / "posterior") as out:
        mean, settings = TrainedMethod(tmp_path / "pca-residual"), method_settings(params, "pca-residual-diffusion")
        how = {"mean": mean, "work": tmp_path / "work-posterior", **quiet}
        summary = train_method("pca-residual-diffusion", settings, store, out, **how)
    assert summary["val_crps_gain_db"] > 0.2
    method = load_model(tmp_path / "posterior").prepared(SAMPLING.model_copy(update={"consistency": 0}))
    lr = store.open("val", ("lr",)).read([0])["lr"]
    assert method.predict_with_spread(lr, count=3)[1].mean() > 1e-3
    assert 0.3 < method.interval_scale < 3


@pytest.mark.parametrize("name", BOTH)
def test_loaded_it_draws_the_same_bits(prepared, images, tmp_path, name):
    method = prepared(name)
    method.interval.fill_(1.5)
    with publish(tmp_path / "model") as out:
        method.save(out)
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, loaded.mean.name, loaded.interval_scale) == (name, method.mean.name, 1.5)
    for one, other in zip(
        loaded.draw(**given(method, images), count=2), method.draw(**given(method, images), count=2), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_its_training_leaves_the_regression_as_it_was(train, regression, tmp_path, images):
    trained = load_model(train("pca-residual-diffusion", tmp_path).folder)
    before = load_model(regression("pca-residual").path).prepared(trained.sampling)
    np.testing.assert_array_equal(trained.predict(images[0]), before.predict(images[0]))
    assert trained.interval_scale != 1


def test_samples_are_of_the_bands_of_the_training(prepared, images):
    method = prepared("fusion-fast")
    lr, msi = images
    assert method.predict(lr[:, :9], msi=msi).shape == (2, 9, 32, 32)  # fusion-fast-regression takes any number
    with pytest.raises(ModelInputError, match="Got 9 bands"):
        next(method.draw(lr[:, :9], count=2, msi=msi))


def test_a_regression_that_serves_other_sensors_still_does(prepared, regression):
    method = prepared("dmgasr")
    assert method.wavelength_nm is None
    with pytest.raises(ModelInputError, match="identifies its 12 bands by their number"):
        method.for_wavelengths([500.0, 600.0])
    with pytest.raises(ModelInputError, match="pca-residual identifies bands by their number"):
        prepared().for_wavelengths([500.0, 600.0])


def test_what_has_no_residual_is_refused(params, store, regression, tmp_path):
    settings = method_settings(params, "dmgasr")
    arrays = (store.open("train", ("hr", "lr")), store.open("val", ("hr", "lr")))
    with pytest.raises(MissingInputError, match="trains on the residual of a trained method"):
        Posterior.untrained(settings, TrainingData(*arrays))
    with pytest.raises(ParamsError, match="takes a scene as one image"):
        Posterior.untrained(settings, TrainingData(*arrays, mean=regression("cnmf").path))
