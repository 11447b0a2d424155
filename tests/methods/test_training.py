"""Training of particular methods: what is learnt, chosen and refused."""

import numpy as np
import pytest
import torch

from hsipipe.artifacts import PatchStore
from hsipipe.degradation.bicubic import upsample
from hsipipe.errors import DataError, IntegrityError, ParamsError
from hsipipe.methods.base import validation_psnr_db
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.checkpoint import read_weights
from hsipipe.patches.sample import spread
from hsipipe.training import loop
from hsipipe.training import train as trainer


def test_it_begins_at_bicubic_and_learns_what_it_is_shown(store, train, tmp_path):
    # Validated on the training patches: so few of them teach nothing about other scenes.
    seen = PatchStore(tmp_path / "patches")
    seen.path.mkdir()
    for split in ("train", "val"):
        (seen.path / f"{split}.zarr").symlink_to(store.path / "train.zarr")
    optimizer = {"steps": 160, "ema": 0.9, "validate_every": 80, "save_every": 80}
    made = train("pca-residual", tmp_path, patches=seen, width=32, optimizer=optimizer)
    val = seen.open("val")
    val = val.read(spread(len(val), 16))
    error = np.square(upsample(val["lr"], 4).clip(0, 1) - val["hr"]).mean(axis=(0, 2, 3))
    values = [metrics["val_mpsnr_db"] for _, metrics in made.curve]
    assert values[0] == pytest.approx(-10 * np.log10(error).mean(), abs=1e-3)
    assert made.summary["val_mpsnr_db"] == max(values) > values[0]
    model = load_model(made.folder)
    assert validation_psnr_db(model, {name: val[name] for name in ("lr", "hr")}) == pytest.approx(max(values), abs=1e-3)
    assert made.summary["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_training_improves_fusion_fast_on_its_start(make_store, train, tmp_path):
    scenes = {"synthetic": {"scenes": 8, "size": 64, "bands": 12, "seed": 0}}
    patches = make_store(tmp_path, dataset=scenes, patches={"size": 32, "stride": 16})
    optimizer = {"steps": 80, "validate_every": 20, "warmup": 50, "ema": 0.99}
    made = train("fusion-fast-regression", tmp_path, patches=patches, width=16, blocks=2, optimizer=optimizer)
    assert made.curve[-1][1]["val_mpsnr_db"] > made.curve[0][1]["val_mpsnr_db"] + 0.2


@pytest.mark.parametrize(
    "loss", [{"norm": "l1"}, {"norm": "l2"}, {"norm": "huber"}, {"target": 0.0, "l1": 1.0}, {"sam": 0.5}]
)
def test_every_part_of_the_loss_of_the_diffusion_moves_the_weights_elsewhere(train, tmp_path, loss):
    zero = {"target": 1.0, "norm": "l1", "l1": 0.0, "sam": 0.0, "gradient": 0.0}
    plain = {"norm": "l2"} if loss == {"norm": "l1"} else {}
    one, other = (
        train("dmgasr-latent", tmp_path / str(number), loss=zero | change, optimizer={"steps": 3}).weights()
        for number, change in enumerate((plain, loss))
    )
    assert one != other


def test_progressive_training_shows_small_images_first_and_then_teaches_half_of_the_network(
    train, tmp_path, monkeypatch
):
    seen = []
    original = loop._Training._loss

    def watch(self):
        loss = original(self)
        seen.append(len([weights for weights in self._module.parameters() if weights.requires_grad]))
        return loss

    monkeypatch.setattr(loop._Training, "_loss", watch)
    phases = [
        {"until": 0.5, "size": 8, "batch": 2, "trains": "all"},
        {"until": 1.0, "size": 16, "batch": 1, "trains": "second_half"},
    ]
    train("hsrdiff", tmp_path, progressive=phases)
    assert len(set(seen[:3])) == len(set(seen[3:])) == 1
    assert seen[5] < seen[0]


def test_a_method_without_training_is_written_as_it_is(store, train, tmp_path):
    made = train("gsa", tmp_path)
    assert (made.summary, made.curve) == ({}, [])
    assert load_model(made.folder).response.tolist() == store.open("train").attrs["response"]


def test_phases_that_do_not_fit_are_refused(train, tmp_path):
    phases = [{"until": 1.0, "size": 28, "batch": 2, "trains": "all"}]
    with pytest.raises(ParamsError, match=r"trains on 28 pixels, expected a multiple of the scale \(4\) of at most"):
        train("hsrdiff", tmp_path, progressive=phases)


def test_patches_too_small_for_a_subspace_are_refused(make_store, train, tmp_path):
    scenes = {"synthetic": {"scenes": 3, "size": 48, "bands": 20, "seed": 0}}
    patches = make_store(tmp_path, dataset=scenes, patches={"size": 8, "stride": 8})
    with pytest.raises(ParamsError, match=r"2 x 2 LR pixels, too few .* set patches\.size to 20 or more"):
        train("fusion-fast-regression", tmp_path, patches=patches, components=16)


def test_patches_without_an_msi_are_refused(make_store, train, tmp_path):
    with pytest.raises(DataError, match=r"no HR-MSI to fuse; set degradation\.srf"):
        train("fusion-fast-regression", tmp_path, patches=make_store(tmp_path, degradation={"srf": None}))


def test_latents_of_another_autoencoder_are_refused(latents, make_gae, train, tmp_path):
    encoded, other = latents("standard")[0], make_gae(tmp_path, seed=1)[0]
    with pytest.raises(IntegrityError, match="made by another autoencoder; run the stage latents again"):
        train("dmgasr-latent", tmp_path, encoded=(encoded, other))


@pytest.mark.parametrize(("phase", "turned"), [(None, True), (0, False)])
def test_pairs_are_turned_only_where_the_psf_sees_all_sides_alike(
    make_store, train, tmp_path, monkeypatch, phase, turned
):
    psf = {"kind": "gaussian", "sigma": 1.7, "mtf": None, "size": None, "phase": phase}
    asked = []
    original = trainer.StepBatches

    def watch(*args, augment, **kwargs):
        asked.append(augment)
        return original(*args, augment=augment, **kwargs)

    monkeypatch.setattr(trainer, "StepBatches", watch)
    train("residual-fusion", tmp_path, patches=make_store(tmp_path, degradation={"psf": psf}))
    assert asked == [turned]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fusion-fast-regression", "dmgasr-latent", "pca-residual"])
def test_two_processes_train_what_one_trains(train, hardware, tmp_path, name):
    alone, shared = (read_weights(train(name, tmp_path / str(n), hardware=hardware(devices=n)).folder) for n in (1, 2))
    assert alone.keys() == shared.keys()
    for key, tensor in alone.items():
        torch.testing.assert_close(shared[key], tensor, rtol=1e-3, atol=1e-4)


def test_a_validation_averages_errors_and_not_decibels():
    class Constant:
        def predict(self, lr):
            return np.zeros((1, 1, 4, 4), np.float32)

    hr = np.stack([np.full((1, 4, 4), value, np.float32) for value in (0.1, 0.001)])
    patches = {"lr": np.zeros((2, 1, 1, 1), np.float32), "hr": hr}
    expected = -10 * np.log10((0.1**2 + 0.001**2) / 2)
    assert validation_psnr_db(Constant(), patches) == pytest.approx(expected, abs=1e-4)


def test_validation_patches_are_spread_and_never_more_than_there_are():
    assert spread(5, 16).tolist() == [0, 1, 2, 3, 4]
    assert spread(100, 3).tolist() == [0, 50, 99]
