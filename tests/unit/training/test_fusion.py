"""Training of the fusion models: what is learnt, resumed, chosen and refused."""

import json

import numpy as np
import pytest

from hsipipe.artifacts import DegradedPairs, PatchStore, RawScenes
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.errors import DataError, ParamsError
from hsipipe.methods.catalogue import load_model, saved_name
from hsipipe.params import Params, load_params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.manifest import write_manifest
from hsipipe.storage.publish import publish
from hsipipe.training import fusion, loop
from hsipipe.training.fusion import train_fusion
from hsipipe.training.fusion_recipes import RECIPES

NAMES = ("fusion-fast", "ddpmfus", "hsrdiff", "residual-fusion")


@pytest.fixture(scope="module")
def params(repository) -> Params:
    quick = {"steps": 6, "batch": 2, "warmup": 1, "validate_every": 2, "save_every": 2}
    tree = load_params(repository / "params.yaml").model_dump()
    tree["dataset"]["synthetic"] |= {"scenes": 3, "size": 48, "bands": 9}
    tree["patches"] |= {"size": 16, "stride": 8, "shard": 16}
    tree["fusion_fast"] |= {"components": 4, "windows": [1, 2], "width": 8, "blocks": 1}
    tree["ddpmfus"]["unet"] |= {"width": 8, "multipliers": [1], "attention": []}
    tree["ddpmfus"]["diffusion"]["validation_steps"] = 2
    tree["hsrdiff"]["net"] |= {"width": 8, "heads": 2, "window": 4}
    tree["hsrdiff"]["progressive"] = [
        {"until": 0.5, "size": 8, "batch": 2, "trains": "all"},
        {"until": 1.0, "size": 16, "batch": 1, "trains": "second_half"},
    ]
    tree["residual_fusion"] |= {"width": 8, "blocks": 1}
    for group in ("fusion_fast", "ddpmfus", "hsrdiff", "residual_fusion"):
        tree[group]["optimizer"] |= quick
    tree["hardware"]["accelerator"] = "cpu"
    return Params.model_validate(tree)


def make_patches(root, params, **degradation) -> PatchStore:
    scenes, pairs, patches = (kind(root / kind.__name__) for kind in (RawScenes, DegradedPairs, PatchStore))
    how = params.degradation.model_copy(update=degradation)
    with publish(scenes.path) as out:
        prepare_scenes(params.dataset, out)
    with publish(pairs.path) as out:
        make_pairs(scenes, out, split=params.split, degradation=how)
    with publish(patches.path) as out:
        extract_patches(pairs, out, patches=params.patches)
    return patches


@pytest.fixture(scope="module")
def patches(params, tmp_path_factory) -> PatchStore:
    return make_patches(tmp_path_factory.mktemp("patches"), params)


def response_of(patches):
    return DegradedPairs(patches.path.parent / "DegradedPairs").response()


def train(name, params, patches, folder, *, objective="diffusion", log=lambda step, metrics: None):
    for part in ("out", "work"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    summary = train_fusion(
        patches,
        folder / "out",
        recipe=RECIPES[name](params),
        objective=objective,
        hardware=params.hardware,
        work=folder / "work",
        log=log,
        description=name,
    )
    write_manifest(folder / "out")
    return summary


@pytest.mark.parametrize("name", NAMES)
def test_a_training_ends_in_a_model_that_loads_by_its_name(params, patches, tmp_path, name):
    curve = []
    summary = train(name, params, patches, tmp_path, log=lambda step, metrics: curve.append((step, metrics)))
    model = load_model(tmp_path / "out")
    assert model.name == saved_name(tmp_path / "out") == name
    assert [step for step, _ in curve] == [0, 2, 4, 6]
    assert summary["val_mpsnr_db"] == max(metrics["val_mpsnr_db"] for _, metrics in curve)
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    np.testing.assert_allclose(model.response, response_of(patches), atol=1e-6)


@pytest.mark.parametrize("name", ["fusion-fast", "hsrdiff"])
def test_the_same_network_as_a_regression_is_named_so(params, patches, tmp_path, name):
    train(name, params, patches, tmp_path, objective="regression")
    assert load_model(tmp_path / "out").name == saved_name(tmp_path / "out") == "regression"


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_training_ends_with_the_same_bits(params, patches, tmp_path, monkeypatch, name):
    train(name, params, patches, tmp_path / "whole")
    step = loop._Training._step

    def stop_at_five(self):
        if self.state.step == 5:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, "_step", stop_at_five)
        with pytest.raises(KeyboardInterrupt):
            train(name, params, patches, tmp_path / "cut")
    train(name, params, patches, tmp_path / "cut")
    whole, cut = ((tmp_path / run / "out/model.safetensors").read_bytes() for run in ("whole", "cut"))
    assert whole == cut


def test_progressive_training_shows_small_images_first_and_then_teaches_half_of_the_network(
    params, patches, tmp_path, monkeypatch
):
    seen = []
    original = loop._Training._loss

    def watch(self):
        loss = original(self)
        learning = [p for p in self._module.parameters() if p.requires_grad]
        seen.append(len(learning))
        return loss

    monkeypatch.setattr(loop._Training, "_loss", watch)
    train("hsrdiff", params, patches, tmp_path)
    assert len(set(seen[:3])) == len(set(seen[3:])) == 1
    assert seen[5] < seen[0]


def test_training_improves_fusion_fast_on_its_start(params, tmp_path):
    tree = params.model_dump()
    tree["fusion_fast"]["optimizer"] |= {"steps": 80, "validate_every": 20, "lr": 0.002}
    tree["fusion_fast"] |= {"width": 16, "blocks": 2}
    tree["dataset"]["synthetic"] |= {"scenes": 8, "size": 64}
    tree["patches"] |= {"size": 32, "stride": 16}
    patches = make_patches(tmp_path, Params.model_validate(tree))
    curve = []
    train("fusion-fast", Params.model_validate(tree), patches, tmp_path, log=lambda step, m: curve.append(m))
    assert curve[-1]["val_mpsnr_db"] > curve[0]["val_mpsnr_db"] + 0.2


def test_phases_that_do_not_fit_are_refused(params, patches, tmp_path):
    tree = params.model_dump()
    tree["hsrdiff"]["progressive"] = [{"until": 1.0, "size": 20, "batch": 2, "trains": "all"}]
    with pytest.raises(ParamsError, match=r"trains on 20 pixels, expected a multiple of the scale \(4\) of at most"):
        train("hsrdiff", Params.model_validate(tree), patches, tmp_path)


def test_patches_too_small_for_a_subspace_are_refused(params, patches, tmp_path):
    tree = params.model_dump()
    tree["fusion_fast"]["components"] = 16
    tree["dataset"]["synthetic"]["bands"] = 20
    tree["patches"] |= {"size": 8, "stride": 8}
    changed = Params.model_validate(tree)
    with pytest.raises(ParamsError, match=r"2 x 2 LR pixels, too few .* set patches\.size to 20 or more"):
        train("fusion-fast", changed, make_patches(tmp_path, changed), tmp_path)


def test_two_processes_share_a_training(params, patches, tmp_path):
    tree = params.model_dump()
    tree["fusion_fast"]["optimizer"]["steps"] = 2
    one, two = (Params.model_validate(tree | {"hardware": tree["hardware"] | {"devices": n}}) for n in (1, 2))
    train("fusion-fast", one, patches, tmp_path / "one")
    train("fusion-fast", two, patches, tmp_path / "two")
    left, right = (load_model(tmp_path / run / "out").state_dict() for run in ("one", "two"))
    for name, weights in left.items():
        np.testing.assert_allclose(weights, right[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("phase", "turned"), [(None, True), (0, False)])
def test_pairs_are_turned_only_where_the_psf_sees_all_sides_alike(params, tmp_path, monkeypatch, phase, turned):
    psf = params.degradation.psf.model_copy(update={"kind": "gaussian", "sigma": 1.7, "phase": phase})
    patches = make_patches(tmp_path, params, psf=psf)
    asked = []
    original = fusion.StepBatches

    def watch(*args, augment, **kwargs):
        asked.append(augment)
        return original(*args, augment=augment, **kwargs)

    monkeypatch.setattr(fusion, "StepBatches", watch)
    train("residual-fusion", params, patches, tmp_path)
    assert asked == [turned]


def test_patches_without_an_msi_are_refused(params, tmp_path):
    patches = make_patches(tmp_path, params, srf=None)
    with pytest.raises(DataError, match=r"no HR-MSI to be fused; set degradation\.srf"):
        train("fusion-fast", params, patches, tmp_path)


def test_an_unknown_response_is_estimated_from_the_training_patches(params, patches, tmp_path, monkeypatch):
    known = PatchArrays.attrs.fget
    monkeypatch.setattr(PatchArrays, "attrs", property(lambda self: known(self) | {"response": None}))
    train("fusion-fast", params, patches, tmp_path)
    config = json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8"))
    assert config["pairing"]["response"] == "estimated"
    estimated = np.asarray(load_model(tmp_path / "out").response)
    np.testing.assert_allclose(estimated.sum(axis=1), 1, atol=0.2)
    assert np.abs(estimated - response_of(patches)).sum(axis=1).max() < 1
