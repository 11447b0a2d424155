"""A training on a scene that starts from the network of another scene."""

import numpy as np
import pytest
import torch
from small_network import small_group_network, small_network

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import Psf
from hsipipe.errors import ModelInputError
from hsipipe.methods.base import TrainingData
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import methods
from hsipipe.sharpen.candidates import network_settings, started
from hsipipe.sharpen.compare import Clock, compare
from hsipipe.sharpen.fit import fit_network
from hsipipe.sharpen.patches import cut_patches
from hsipipe.sharpen.regions import plan_regions
from hsipipe.sharpen.scores import score_box
from hsipipe.sharpen.start import Start, startable

NETWORK = "group-residual"


@pytest.fixture
def scene_of(make_scene, make_reduced):
    """A function that makes a scene with its regions, in a range of its own."""

    def make(*, bands=11, seed=2, brightness=0.5):
        reduced = make_reduced(brightness * make_scene(bands=bands, seed=seed))
        return reduced, plan_regions(reduced.interpolation_error(), reduced.valid, scale=2)

    return make


def data_of(reduced, regions):
    patches = cut_patches(reduced, regions.fit)
    return TrainingData(patches, patches)


@pytest.fixture
def taught(tiny, scene_of):
    """A network of 48 steps on a brighter scene of fewer bands; later trainings have six."""
    tiny["steps"] = 48
    network, _ = fitted(scene_of(bands=6, seed=1, brightness=1.0))
    tiny["steps"] = 6
    return network


def fitted(scene, **more):
    network, note = fit_network(NETWORK, *scene, seconds=30, wavelength_nm=None, **more)
    return network, note


@pytest.mark.parametrize("bands", [4, 11])
def test_the_weights_are_carried_to_any_number_of_bands(scene_of, bands):
    """Of four bands, one group, the detail is that of the model but for one factor."""
    scene, model = scene_of(bands=bands), small_group_network(bands=4)
    carried = model.carried_to(data_of(*scene), network_settings(NETWORK))
    assert (carried.bands, carried.settings.width, carried.psf) == (bands, 8, scene[0].psf)
    lr = torch.from_numpy(scene[0].lr[None])
    with torch.no_grad():
        ours, theirs = carried(lr)[:, :4].numpy(), model(lr[:, :4]).numpy()
    factor = float(np.vdot(ours, theirs) / np.vdot(theirs, theirs))
    assert factor != 0
    np.testing.assert_allclose(ours, factor * theirs, atol=1e-4 * np.abs(ours).max())


def test_the_factor_of_the_detail_is_the_best_in_the_mean_square(scene_of):
    reduced, regions = scene_of()
    data = data_of(reduced, regions)
    carried = small_group_network().carried_to(data, network_settings(NETWORK))
    patches = data.train.read(np.arange(len(data.train)))
    missing = patches["hr"] - upsample(patches["lr"], 2)

    def error(factor):
        with torch.no_grad():
            return np.square(factor * carried(torch.from_numpy(patches["lr"])).numpy() - missing).mean()

    assert error(1) < min(error(0), error(0.5), error(1.5))


def test_a_network_that_adds_nothing_is_carried_unchanged(scene_of):
    model = small_group_network()
    model.tail.weight.zero_()
    carried = model.carried_to(data_of(*scene_of()), network_settings(NETWORK))
    assert all(torch.isfinite(value).all() for value in carried.state_dict().values())
    assert not carried.tail.weight.any()


def test_training_goes_on_from_the_weights_with_smaller_steps(taught, scene_of):
    scene = scene_of()
    (cold, _), (warm, note) = fitted(scene), fitted(scene, start=taught)
    assert note.startswith("6 steps, best at step")
    first = taught.carried_to(data_of(*scene), network_settings(NETWORK))
    apart = {name: (warm.head.weight - other.head.weight).norm() for name, other in (("first", first), ("cold", cold))}
    assert 0 < apart["first"] < 0.5 * apart["cold"]
    settings = network_settings(NETWORK)
    assert started(settings).optimizer.lr < settings.optimizer.lr
    assert started(settings).loss == settings.loss


def test_after_few_steps_a_start_is_better_than_random_weights(taught, scene_of):
    reduced, regions = scene_of()
    cold, warm = (fitted((reduced, regions), start=start)[0] for start in (None, taught))
    scores = [score_box(reduced.predict(network), reduced, regions.judge).mpsnr_db for network in (cold, warm)]
    assert scores[1] > scores[0] + 0.5


def test_a_network_that_started_is_a_candidate_as_any(taught, scene_of):
    found = compare(*scene_of(), clock=Clock(30), wavelength_nm=None, tell=lambda line: None, start=taught)
    assert [entry.name for entry in found.candidates] == ["bicubic", "back-projection", NETWORK]
    assert [entry.is_trained for entry in found.candidates] == [False, False, True]


def test_without_time_for_a_training_the_start_is_a_candidate_unchanged(scene_of):
    scene, model = scene_of(), small_group_network()
    network, note = fit_network(NETWORK, *scene, seconds=0.01, wavelength_nm=None, start=model)
    assert note == "no time for further steps"
    assert torch.equal(network.tail.weight, model.tail.weight)
    found = compare(*scene, clock=Clock(0.01), wavelength_nm=None, tell=lambda line: None, start=model)
    assert [entry.note for entry in found.candidates] == ["", "", note]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bicubic(2), "bicubic, which has no weights to start from; give a trained group-residual"),
        (small_network, "pca-residual, which cannot carry over to another sensor; give a trained group-residual"),
        (lambda: methods()["sfim"](2, Psf()), "sfim, which has no weights"),
    ],
)
def test_a_model_that_is_no_start_is_refused(make, message):
    with pytest.raises(ModelInputError, match=f"models/x is {message}"):
        startable(make(), "models/x")


@pytest.mark.parametrize(
    ("bands", "scale", "message"),
    [
        (5, 4, "models/x is trained for scale 2, got --scale 4; give a model of that scale, or --scale 2"),
        (3, 2, "models/x works on groups of 4 bands, and the scene has 3; leave out --start"),
    ],
)
def test_a_start_for_other_scenes_is_refused(bands, scale, message):
    start = Start(startable(small_group_network(), "models/x"), "models/x", NETWORK, None, "0" * 64)
    start.check(bands=5, scale=2)
    with pytest.raises(ModelInputError, match=message):
        start.check(bands=bands, scale=scale)
