"""The contract of every method in the catalogue: a new one is tested by being listed."""

import inspect

import numpy as np
import pytest
import torch

from hsipipe.artifacts import Pair
from hsipipe.artifacts.no_data import VALID
from hsipipe.errors import ModelInputError
from hsipipe.evaluation.score_method import _Row
from hsipipe.inference.scene import draw_scene, predict_scene
from hsipipe.methods.back_projection import BackProjection
from hsipipe.methods.base import Method, Trainable
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.catalogue import entries, entry, load_model, methods, saved_name
from hsipipe.methods.cegatsr import GraphUnit
from hsipipe.methods.fusion.published import PublishedFusion
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion
from hsipipe.methods.network_method import PublishedMethod
from hsipipe.methods.networks.layers import GridlessShuffle
from hsipipe.methods.super_resolver import SampleResolver
from hsipipe.params import SamplingParams
from hsipipe.patches.draws import Draws
from hsipipe.storage.publish import publish

SCALE = 4
# In their tiny size, entries of a published network that differ in size or length only are equal to each other.
NAMES = sorted(name for name in entries() if not name.endswith(("-small", "-short")))
DISTINCT = [n for n in NAMES if entry(n).like == n or not issubclass(methods()[n], PublishedMethod)]
TRAINED = [name for name in DISTINCT if issubclass(methods()[name], Trainable)]
SAMPLING = SamplingParams.saved(
    {"sampler": "ddim", "steps": 2, "residual_decode": True, "consistency": 1, "tile": 8, "overlap": 2, "seed": 0}
)


STIR = 0.03


@pytest.fixture
def stirred(untrained):
    """A function that makes a method whose weights are moved: last layers start at zero, which would hide much."""

    def make(name, **sampling):
        method = untrained(name)[0]
        if isinstance(method, Trainable):
            generator = torch.Generator().manual_seed(0)
            for weights in method.network().parameters():
                weights.data.add_(STIR * torch.randn(weights.shape, generator=generator))
            method.network().eval().requires_grad_(False)
        return method.prepared(SAMPLING.model_copy(update=sampling))

    return make


def call(method: Method, lr, msi, **more):
    return method.predict(lr, msi=msi if method.FUSES else None, **more)


@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_the_hr_cube_and_nothing_of_its_neighbours(stirred, images, name):
    method, (lr, msi) = stirred(name), images
    sr = call(method, lr, msi)
    assert (sr.shape, sr.dtype) == ((2, lr.shape[1], 32, 32), np.float32)
    assert np.isfinite(sr).all()
    assert np.array_equal(sr, call(method, lr, msi))
    assert np.array_equal(sr[1:], call(method, lr[1:], msi[1:]))
    assert (method.name, method.scale, method.FUSES) == (name, SCALE, entry(name).fuses)


@pytest.mark.parametrize("name", DISTINCT)
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


@pytest.mark.parametrize("name", DISTINCT)
def test_the_truth_has_no_way_in(stirred, images, tmp_path, name):
    method, (lr, msi) = stirred(name), images
    assert set(inspect.signature(method.predict).parameters) == {"lr", "msi", "origin"}
    row = _Row(name, method, SAMPLING)
    truths = (np.full((12, 32, 32), value, np.float32) for value in (np.nan, 0.5))
    first, second = (row.predict(Pair("scene", hr, lr[0], msi[0], None), (0.0, 1.0), tmp_path) for hr in truths)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_predicts_the_same_bits(stirred, images, tmp_path, name):
    method, (lr, msi) = stirred(name, samples=2), images
    with publish(tmp_path / "model") as out:
        method.save(out)
    loaded = load_model(tmp_path / "model")
    assert (loaded.name, saved_name(tmp_path / "model")) == (name, name)
    assert loaded.nfe == method.nfe
    assert np.array_equal(call(loaded, lr, msi), call(method, lr, msi))


def smooth(size, bands, seed):
    """An image (bands, size) of waves, which an interpolation can follow."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[: size[0], : size[1]] / size[0]
    waves = [0.5 + 0.3 * np.sin(6 * y + phase + 4 * x) for phase in rng.uniform(0, 6, bands)]
    return np.stack(waves).astype(np.float32)


def in_tiles(method):
    """True for a network in tiles; test_hypersharpening.py and test_back_projection.py have methods without one."""
    return not method.WHOLE_SCENE and not issubclass(method, WholeSceneFusion | BackProjection)


@pytest.mark.parametrize("name", [name for name in DISTINCT if in_tiles(methods()[name])])
def test_tiles_of_a_scene_agree_with_the_whole(stirred, name):
    def predicted(method, lr, tile):
        if isinstance(method, SampleResolver) and method.varies:
            return draw_scene(method, lr, count=1, tile=tile, overlap=3, msi=msi)[0]
        return predict_scene(method, lr, tile=tile, overlap=3, msi=msi)

    plain, lr, msi = stirred(name, consistency=0), smooth((19, 17), 12, 1), smooth((76, 68), 3, 2)
    msi = msi if plain.FUSES else None
    # Back-projection takes away much of what moved weights add, so that it is no scale for a seam.
    whole = predicted(plain, lr, 32)
    added = np.abs(whole - Bicubic(SCALE).predict(lr[None])[0]).mean()
    if isinstance(plain, PublishedMethod | PublishedFusion):
        # With these weights its output may be far from the interpolation, and nearly constant.
        added = min(added, whole.std())
    # A normalisation over the tile lets a feature depend on what else is in it.
    kinds = {type(module) for module in plain.network().modules()}
    # A statistic over a window of 9 pixels of a tile of 12 is cut at most of its borders; so is a pooling over more
    # pixels, and a search for similar ones.
    wide = {GridlessShuffle, GraphUnit, torch.nn.MaxPool2d}
    bound = 0.45 if torch.nn.GroupNorm in kinds else 0.15 if kinds & wide else 0.06
    for method in (plain, stirred(name)):
        tiled, whole = (predicted(method, lr, tile) for tile in (12, 32))
        assert tiled.shape == whole.shape == (12, 76, 68)
        assert np.abs(tiled - whole).mean() < bound * added


def two_patches(method, data):
    """A batch of two training patches, and its random numbers."""
    patches = type(data.train)(method.batches_from(data), method.ARRAYS).read([0, 1])
    batch = {key: torch.from_numpy(values) for key, values in patches.items()}
    return batch, Draws(seed=0, step=0, total=2, part=slice(None))


@pytest.mark.parametrize("name", TRAINED)
def test_steps_on_one_batch_lower_its_loss(untrained, name):
    method, data = untrained(name)
    network = method.network().train()
    batch, draws = two_patches(method, data)
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


@pytest.mark.parametrize("name", TRAINED)
def test_pixels_without_data_train_nothing_and_a_full_mask_changes_no_bit(untrained, name):
    method, data = untrained(name)
    network = method.network().train()
    batch, draws = two_patches(method, data)

    def learned(mask):
        size = batch["hr"].shape[-2:]
        masked = batch if mask is None else {**batch, VALID: torch.full((2, 1, *size), mask, dtype=torch.uint8)}
        network.zero_grad(set_to_none=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            loss = method.loss(network, method.cut(masked, draws), draws)
        if loss.requires_grad:
            loss.backward()
        return loss.detach(), [p.grad for p in network.parameters() if p.grad is not None]

    plain, full, none = learned(None), learned(1), learned(0)
    assert torch.equal(plain[0], full[0])
    assert all(torch.equal(a, b) for a, b in zip(plain[1], full[1], strict=True))
    assert any(gradient.any() for gradient in plain[1])
    assert not any(gradient.any() for gradient in none[1])


def test_every_class_is_covered():
    assert {entries()[name].where for name in DISTINCT} == {entry.where for entry in entries().values()}


@pytest.mark.parametrize("name", ["bdt", "cegatsr", "psrt"])
def test_the_grid_of_a_network_is_in_the_same_place_in_all_tiles(stirred, name):
    method = stirred(name)
    lr, msi = smooth((24, 24), 12, 1)[None], smooth((96, 96), 3, 2)[None]

    def away(origin):
        """Difference of a tile at LR row 5 and column 3 from the whole, away from its border."""
        tile, fine = lr[:, :, 5:21, 3:19], msi[:, :, 20:84, 12:76]
        inside = np.s_[..., 24:40, 24:40]
        part = call(method, np.ascontiguousarray(tile), np.ascontiguousarray(fine), origin=origin)
        return np.abs(part[inside] - call(method, lr, msi)[:, :, 20:84, 12:76][inside]).mean()

    assert away((5, 3)) < 0.5 * away((0, 0))


class _Killed(Exception):
    """Ends a training as a signal would."""


@pytest.mark.parametrize("name", [name for name in TRAINED if entry(name).like == name])
def test_a_killed_training_ends_with_the_same_bits(train, tmp_path, name):
    def die(step, metrics):
        if step >= 3:
            raise _Killed

    whole = train(name, tmp_path / "whole")
    with pytest.raises(_Killed):
        train(name, tmp_path / "killed", log=die)
    assert (tmp_path / "killed" / "work" / "resume.safetensors").is_file()
    killed = train(name, tmp_path / "killed")
    assert whole.weights() == killed.weights()
    assert [step for step, _ in whole.curve] == [0, 3, 6]
    judged_by = methods()[name].JUDGED_BY
    assert whole.summary[judged_by] == max(metrics[judged_by] for _, metrics in whole.curve)
    assert load_model(whole.folder).name == name
