"""The contract of every method in the catalogue: a new one is tested by being listed."""

import inspect

import numpy as np
import pytest
import torch

from hsipipe.errors import ModelInputError
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.base import Method, Trainable
from hsipipe.methods.catalogue import entries, entry, load_model, method_settings, methods, saved_name
from hsipipe.params import HardwareParams, SamplingParams
from hsipipe.patches.draws import Draws
from hsipipe.storage.publish import publish
from hsipipe.training.train import train_method

SCALE = 4
HARDWARE = HardwareParams(accelerator="cpu", precision="32-true", compile=False, devices=1)
NAMES = sorted(entries())
TRAINED = [name for name in NAMES if issubclass(methods()[name], Trainable)]
SAMPLING = SamplingParams.saved(
    {"sampler": "ddim", "steps": 2, "residual_decode": True, "consistency": 1, "tile": 8, "overlap": 2, "seed": 0}
)


def call(method: Method, lr, msi, **more):
    return method.predict(lr, msi=msi if method.FUSES else None, **more)


@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_the_hr_cube_and_nothing_of_its_neighbours(untrained, images, name):
    method, (lr, msi) = untrained(name)[0].prepared(SAMPLING), images
    sr = call(method, lr, msi)
    assert (sr.shape, sr.dtype) == ((2, lr.shape[1], 32, 32), np.float32)
    assert np.isfinite(sr).all()
    assert np.array_equal(sr, call(method, lr, msi))
    assert np.array_equal(sr[1:], call(method, lr[1:], msi[1:]))
    assert (method.name, method.scale, method.FUSES) == (name, SCALE, entry(name).fuses)


@pytest.mark.parametrize("name", NAMES)
def test_it_refuses_what_it_was_not_made_for(untrained, images, name):
    method, (lr, msi) = untrained(name)[0].prepared(SAMPLING), images
    for wrong in (lr[0], lr.astype(np.float64), np.full_like(lr, np.nan)):
        with pytest.raises(ModelInputError):
            call(method, wrong, msi)
    if method.bands is not None:
        with pytest.raises(ModelInputError):
            call(method, lr[:, 1:], msi)
    with pytest.raises(ModelInputError):
        method.predict(lr, msi=None if method.FUSES else msi)


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_has_no_way_in(name):
    parameters = set(inspect.signature(methods()[name].predict).parameters)
    assert parameters == {"self", "lr", "msi", "origin"}


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_predicts_the_same_bits(untrained, images, tmp_path, name):
    method, (lr, msi) = untrained(name)[0].prepared(SAMPLING), images
    with publish(tmp_path / "model") as out:
        method.save(out)
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, saved_name(tmp_path / "model")) == (name, name)
    assert np.array_equal(call(loaded, lr, msi), call(method, lr, msi))


@pytest.mark.parametrize("name", [name for name in NAMES if not methods()[name].WHOLE_SCENE])
def test_tiles_of_a_scene_have_the_scenes_extent(untrained, name):
    method, rng = untrained(name)[0].prepared(SAMPLING), np.random.default_rng(1)
    lr, msi = rng.random((12, 11, 9), dtype=np.float32), rng.random((3, 44, 36), dtype=np.float32)
    scene = predict_scene(method, lr, tile=8, overlap=2, msi=msi if method.FUSES else None)
    assert scene.shape == (12, 44, 36)
    assert np.isfinite(scene).all()


@pytest.mark.parametrize("name", TRAINED)
def test_steps_on_one_batch_lower_its_loss(untrained, name):
    method, data = untrained(name)
    network = method.network().train()
    patches = type(data.train)(method.batches_from(data), method.ARRAYS).read([0, 1])
    batch = {key: torch.from_numpy(values) for key, values in patches.items()}
    draws = Draws(seed=0, step=0, total=2, part=slice(None))
    cut = method.cut(batch, draws)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    losses = []
    for _ in range(12):
        loss = method.loss(network, cut, draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


class _Killed(Exception):
    pass


@pytest.mark.parametrize("name", [name for name in TRAINED if entry(name).like == name])
def test_a_killed_training_ends_with_the_same_bits(params, store, latents, tmp_path, name):
    autoencoder = entry(name).autoencoder
    how = {"latents": latents(autoencoder) if autoencoder else None, "hardware": HARDWARE}
    settings, weights = method_settings(params, name), []

    def die(step, metrics):
        if step >= 3:
            raise _Killed

    for attempt in ("whole", "killed"):
        work = tmp_path / attempt
        work.mkdir()
        if attempt == "killed":
            with pytest.raises(_Killed):
                train_method(name, settings, store, work, work=work, log=die, **how)
            assert (work / "resume.safetensors").is_file()
        with publish(tmp_path / f"{attempt}-out") as out:
            train_method(name, settings, store, out, work=work, log=lambda step, metrics: None, **how)
        weights.append((tmp_path / f"{attempt}-out" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
