"""Trainings on patches with pixels that have no data."""

import numpy as np
import pytest
import torch
from holes import under_mask, with_holes

from hsipipe.artifacts import DegradedPairs, LatentStore, PatchStore
from hsipipe.artifacts.no_data import VALID
from hsipipe.methods.base import Trainable, TrainingData
from hsipipe.methods.catalogue import entries, entry, method_settings, methods
from hsipipe.methods.domain import Domain
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish
from hsipipe.training.latents import encode_latents

ALONE = [
    name
    for name, line in sorted(entries().items())
    if line.like == name and line.autoencoder is None and line.mean is None and issubclass(methods()[name], Trainable)
]
FAMILIES = ["pca-residual", "sspsr", "cmhf-net", "fusion-fast-regression", "ddpmfus", "dmgasr"]
FAMILIES += ["pca-residual-diffusion"]


@pytest.fixture(scope="module")
def holed(params, make_store, tmp_path_factory):
    """Patches of scenes with a stripe and a cloud."""
    root = tmp_path_factory.mktemp("holed")
    make_store(root)
    where = np.zeros((48, 48), bool)
    where[:, 13:17] = where[30:41, 28:44] = True
    pairs = with_holes(DegradedPairs(root / "pairs"), root / "own", where)
    store = PatchStore(root / "holed")
    with publish(store.path) as out:
        extract_patches(pairs, out, patches=params.patches)
    assert VALID in store.open("train").names
    assert VALID in store.open("val").names
    return store


@pytest.fixture(scope="module")
def other(holed, tmp_path_factory):
    """The same patches with another truth where there is no data."""
    return under_mask(holed, tmp_path_factory.mktemp("other") / "patches", "hr", lambda hr: hr * 0.5 + 0.4)


def state(params, name, store):
    arrays = methods()[name].ARRAYS
    data = TrainingData(store.open("train", arrays), store.open("val", arrays))
    return methods()[name].untrained(method_settings(params, name), data).network().state_dict()


@pytest.mark.parametrize("name", ALONE)
def test_statistics_are_of_pixels_with_data(params, holed, other, name):
    one, two = (state(params, name, store) for store in (holed, other))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_domain_is_of_pixels_with_data(holed, tmp_path):
    strange = under_mask(holed, tmp_path / "strange", "lr", lambda lr: np.full_like(lr, 3.0))
    one, two = (Domain.of(store.open("train")) for store in (holed, strange))
    assert (one.low, one.high, one.noise, one.outside) == (two.low, two.high, two.noise, two.outside)
    assert np.array_equal(one.basis, two.basis)
    assert one.high < 3


def test_a_training_sees_pixels_with_data_alone(train, holed, other, tmp_path):
    plain = {"loss": {"l1": 1.0, "sam": 0.0, "gradient": 0.0}}
    one, two = (train("pca-residual", tmp_path / s.path.name, patches=s, **plain) for s in (holed, other))
    assert one.weights() == two.weights()
    assert one.curve == two.curve


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_trains_on_patches_with_holes(params, train, holed, make_gae, hardware, tmp_path, name):
    encoded = None
    if entry(name).autoencoder is not None:
        gae, _ = make_gae(tmp_path / "gae", entry(name).autoencoder, patches=holed)
        encoded = LatentStore(tmp_path / "latents"), gae
        with publish(encoded[0].path) as out:
            encode_latents(holed, gae, out, hardware=hardware(1))
        masks = [store.open("train").read([0, 1])[VALID] for store in (holed, encoded[0])]
        assert np.array_equal(*masks)
    done = train(name, tmp_path / "out", patches=holed, encoded=encoded)
    assert all(np.isfinite(list(row.values())).all() for _, row in done.curve)
    assert not done.summary.get("skipped_steps")
