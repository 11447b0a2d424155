"""A training in the pipeline that starts from a network of another sensor."""

import numpy as np
import pytest
import torch

from hsipipe.artifacts import PatchStore
from hsipipe.errors import ParamsError
from hsipipe.methods.catalogue import load_model
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import publish

NAME = "group-residual"


@pytest.fixture(scope="module")
def other_sensor(make_store, params, tmp_path_factory) -> PatchStore:
    """Patches of another sensor, with other bands and other scenes."""
    synthetic = {**params.dataset.synthetic.model_dump(), "bands": 7, "seed": 5}
    dataset = {**params.dataset.model_dump(), "synthetic": synthetic}
    return make_store(tmp_path_factory.mktemp("other"), dataset=dataset)


def started(folder):
    return {"start": {"folder": str(folder), "sha256": digest(folder)}}


def test_a_training_starts_from_the_weights_of_another_sensor(train, other_sensor, tmp_path):
    """With a learning rate of almost zero they are kept; what differs are the two sizes that belong to the data."""
    before = load_model(train(NAME, tmp_path / "first").folder)
    torch.nn.init.normal_(before.tail.weight, std=0.1)
    with publish(tmp_path / "start") as out:
        before.save(out)
    slow = {"optimizer": {"steps": 2, "lr": 1e-9}}
    warm = train(NAME, tmp_path / "warm", patches=other_sensor, **slow, **started(tmp_path / "start"))
    after = load_model(warm.folder)
    assert (before.bands, after.bands) == (12, 7)
    weights, kept = before.state_dict(), after.state_dict()
    for name in weights.keys() - {"std", "residual_rms"}:
        np.testing.assert_allclose(kept[name], weights[name], atol=1e-6)
    assert float(kept["std"]) != float(weights["std"])


def test_the_sizes_are_those_of_the_start(train, tmp_path):
    first = train(NAME, tmp_path / "first", width=6)
    warm = train(NAME, tmp_path / "warm", width=12, **started(first.folder))
    model = load_model(warm.folder)
    assert model.settings.width == 6
    assert model.predict(np.zeros((1, model.bands, 6, 6), np.float32)).shape == (1, model.bands, 24, 24)


def test_another_network_in_the_folder_is_refused(train, tmp_path):
    first = train(NAME, tmp_path / "first")
    start = {"start": {"folder": str(first.folder), "sha256": "0" * 64}}
    with pytest.raises(ParamsError, match=rf"start\.sha256 is '0+', but .* has {digest(first.folder)}; set"):
        train(NAME, tmp_path / "warm", **start)


def test_another_method_is_refused(train, tmp_path):
    other = train("pca-residual", tmp_path / "first")
    with pytest.raises(ParamsError, match="holds a model of kind 'pca-residual', expected 'group-residual'"):
        train(NAME, tmp_path / "warm", **started(other.folder))
