"""The trainings and the latents on a tiny store of patches, through the library alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from hsipipe.artifacts import (
    ControlCheckpoint,
    DegradedPairs,
    DiffusionCheckpoint,
    GaeCheckpoint,
    LatentStore,
    PatchStore,
    RawScenes,
    RegressionCheckpoint,
)
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.pairs import make_pairs
from hsipipe.errors import DataError, IntegrityError
from hsipipe.methods.checkpoint import read_weights
from hsipipe.methods.dmgasr.method import Dmgasr, load_gae
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import DiffusionLossParams, Params, load_params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish
from hsipipe.training.diffusion import train_diffusion
from hsipipe.training.gae import spread, train_gae
from hsipipe.training.latents import encode_latents
from hsipipe.training.pca_residual import train_pca_residual
from hsipipe.training.validation import mean_psnr_db


def ignore(step, metrics):
    pass


@pytest.fixture(scope="module")
def params() -> Params:
    full = load_params(Path(__file__).parents[3] / "params.yaml")
    quick = {"steps": 6, "batch": 2, "warmup": 1, "validate_every": 3, "save_every": 3}
    tree = full.model_dump()
    tree["dataset"]["synthetic"] |= {"scenes": 4, "size": 48, "bands": 12}
    tree["patches"] |= {"size": 16, "stride": 16, "shard": 4}
    tree["gae"] |= {"n_subs": 6, "n_ovls": 2, "width": 8, "global_width": 8}
    tree["gae"]["optimizer"] |= quick
    tree["diffusion"]["unet"]["width"] = 8
    tree["diffusion"]["optimizer"] |= quick
    tree["control"] |= {"width": 32, "blocks": 1}
    longer = {"steps": 160, "ema": 0.9, "validate_every": 80, "save_every": 80}
    tree["control"]["optimizer"] |= quick | longer
    tree["hardware"]["accelerator"] = "cpu"
    return Params.model_validate(tree)


@pytest.fixture(scope="module")
def patches(params, tmp_path_factory) -> PatchStore:
    root = tmp_path_factory.mktemp("data")
    scenes, pairs, store = RawScenes(root / "raw"), DegradedPairs(root / "pairs"), PatchStore(root / "patches")
    with publish(scenes.path) as out:
        prepare_scenes(params.dataset, out)
    with publish(pairs.path) as out:
        make_pairs(scenes, out, split=params.split, degradation=params.degradation)
    with publish(store.path) as out:
        extract_patches(pairs, out, patches=params.patches)
    return store


def make_gae(params, patches, folder, **changes):
    work = folder.with_name(folder.name + "-work")
    work.mkdir()
    gae = params.gae.model_copy(update=changes)
    with publish(folder) as out:
        summary = train_gae(patches, out, gae=gae, hardware=params.hardware, work=work, log=ignore)
    return GaeCheckpoint(folder), summary


@pytest.fixture(scope="module")
def gae(params, patches, tmp_path_factory) -> GaeCheckpoint:
    return make_gae(params, patches, tmp_path_factory.mktemp("gae") / "gae")[0]


@pytest.fixture(scope="module")
def latents(params, patches, gae, tmp_path_factory) -> LatentStore:
    store = LatentStore(tmp_path_factory.mktemp("latents") / "latents")
    with publish(store.path) as out:
        encode_latents(patches, gae, out, hardware=params.hardware)
    return store


def test_the_autoencoder_starts_near_the_truth_and_is_whitened(params, patches, gae):
    module = load_gae(gae.path)
    train = patches.open("train")
    hr = torch.from_numpy(train.read(np.arange(len(train)))["hr"])
    assert float((module(hr) - hr).square().mean()) < 1e-3
    latent = module.encode(hr)
    torch.testing.assert_close(latent.std(dim=(0, 3, 4)), torch.ones(latent.shape[1:3]), atol=0.05, rtol=0)
    assert module.residual_std.shape == (3, 3, 1, 1)
    assert (module.residual_std < 1).all()


def test_the_same_seed_gives_the_same_autoencoder_and_another_another(params, patches, gae, tmp_path):
    again, _ = make_gae(params, patches, tmp_path / "again")
    other, _ = make_gae(params, patches, tmp_path / "other", seed=1)
    weights = [(folder.path / "model.safetensors").read_bytes() for folder in (gae, again, other)]
    assert weights[0] == weights[1] != weights[2]


def test_more_bands_in_a_group_than_in_the_cube_is_an_error(params, patches, tmp_path):
    with pytest.raises(DataError, match=r"has 12 bands, a group needs 16"):
        make_gae(params, patches, tmp_path / "gae", n_subs=16, n_ovls=4)
    assert not (tmp_path / "gae").exists()


WINDOWS = {"window_nm": 330.0, "global_decoder": False}  # 12 bands from 400 to 1000 nm


def test_windows_lie_where_the_bands_of_the_training_patches_are(params, patches, tmp_path):
    checkpoint, summary = make_gae(params, patches, tmp_path / "gae", **WINDOWS)
    module = load_gae(checkpoint.path)
    train = patches.open("train", ("hr",))
    assert module.wavelength_nm == tuple(train.attrs["wavelength_nm"])
    assert summary["groups"] == module.plan.count == 3
    hr = torch.from_numpy(train.read(np.arange(len(train)))["hr"])
    assert float((module(hr) - hr).square().mean()) < 1e-3
    latent = module.encode(hr)
    torch.testing.assert_close(latent.std(dim=(0, 3, 4)), torch.ones(latent.shape[1:3]), atol=0.05, rtol=0)


def test_windows_without_wavelengths_are_an_error_that_says_what_to_set(params, patches, tmp_path):
    unknown = PatchStore(shutil.copytree(patches.path, tmp_path / "patches"))
    zarr.open_group(unknown.path / "train.zarr", mode="a").attrs["wavelength_nm"] = []
    with pytest.raises(DataError, match=r"are unknown.*dataset.folder.wavelength_nm or drop_bands, or gae.window_nm"):
        make_gae(params, unknown, tmp_path / "gae", **WINDOWS)


@pytest.mark.parametrize(("n_subs", "groups"), [(3, 4), ("all", 1)])
def test_without_networks_whitening_is_all_that_is_found(params, patches, tmp_path, n_subs, groups):
    plain = {"encoder": "identity", "latent_channels": "all", "global_decoder": False, "linear_path": False}
    checkpoint, summary = make_gae(params, patches, tmp_path / "gae", n_subs=n_subs, n_ovls=0, **plain)
    assert summary == {"parameters": 0, "groups": groups}
    module = load_gae(checkpoint.path)
    train = patches.open("train")
    hr = torch.from_numpy(train.read(np.arange(len(train)))["hr"])
    latent = module.encode(hr)
    assert latent.shape[1:3] == (groups, 12 // groups)
    torch.testing.assert_close(latent.std(dim=(0, 3, 4)), torch.ones(latent.shape[1:3]), atol=0.05, rtol=0)
    torch.testing.assert_close(module.decode(latent), hr)


def test_latents_are_those_of_the_patches(patches, gae, latents):
    module = load_gae(gae.path)
    for split in ("train", "val"):
        source = patches.open(split, ("hr",))
        stored = latents.open(split)
        assert len(stored) == len(source)
        expected = module.encode(torch.from_numpy(source.read([1])["hr"])).numpy()
        np.testing.assert_allclose(stored.read([1])["hr"], expected, atol=1e-5)
    assert not (latents.path / "test.zarr").exists()


@pytest.mark.parametrize("regression", [False, True])
def test_both_trainings_give_a_model_that_predicts(params, patches, gae, latents, tmp_path, regression):
    work, folder, curve = tmp_path / "work", tmp_path / "net", []
    work.mkdir()
    with publish(folder) as out:
        summary = train_diffusion(
            patches,
            gae,
            latents,
            out,
            diffusion=params.diffusion,
            hardware=params.hardware,
            work=work,
            log=lambda step, metrics: curve.append((step, metrics["val_mpsnr_db"])),
            regression=regression,
        )
    checkpoint = RegressionCheckpoint(folder) if regression else DiffusionCheckpoint(folder)
    model = Dmgasr.from_checkpoints(gae, checkpoint, sampling=params.sampling)
    assert model.name == ("regression" if regression else "dmgasr")
    assert model.predict(np.full((1, 12, 5, 7), 0.3, np.float32)).shape == (1, 12, 20, 28)
    assert [step for step, _ in curve] == [0, 3, 6]
    assert summary["val_mpsnr_db"] == max(value for _, value in curve)
    assert summary["steps"] == 6
    assert summary["train_seconds"] > 0


@pytest.mark.parametrize(
    "loss",
    [
        {"norm": "l1"},
        {"norm": "l2"},
        {"norm": "huber"},
        {"target": 0.0, "l1": 1.0},
        {"sam": 0.5},
    ],
)
def test_every_part_of_the_loss_of_the_diffusion_moves_the_weights_elsewhere(
    params, patches, gae, latents, tmp_path, loss
):
    zero = {"target": 1.0, "norm": "l1", "l1": 0.0, "sam": 0.0, "gradient": 0.0}
    plain = {"norm": "l2"} if loss == {"norm": "l1"} else {}
    weights = []
    for name, change in (("plain", plain), ("changed", loss)):
        terms = DiffusionLossParams.model_validate({**zero, **change})
        diffusion = params.diffusion.model_copy(update={"loss": terms})
        work = tmp_path / f"{name}-work"
        work.mkdir()
        with publish(tmp_path / name) as out:
            train_diffusion(
                patches, gae, latents, out, diffusion=diffusion, hardware=params.hardware, work=work, log=ignore
            )
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] != weights[1]


def test_a_validation_averages_errors_and_not_decibels():
    class Constant:
        def predict(self, lr):
            return np.zeros((1, 1, 4, 4), np.float32)

    hr = np.stack([np.full((1, 4, 4), value, np.float32) for value in (0.1, 0.001)])
    patches = {"lr": np.zeros((2, 1, 1, 1), np.float32), "hr": hr}
    expected = -10 * np.log10((0.1**2 + 0.001**2) / 2)
    assert mean_psnr_db(Constant(), patches) == pytest.approx(expected, abs=1e-4)


def make_control(params, patches, folder, log=ignore):
    work = folder.with_name(folder.name + "-work")
    work.mkdir(exist_ok=True)
    with publish(folder) as out:
        summary = train_pca_residual(
            patches,
            out,
            control=params.control,
            hardware=params.hardware,
            work=work,
            log=log,
        )
    return ControlCheckpoint(folder), summary


def test_the_control_begins_at_bicubic_and_learns_what_it_is_shown(params, patches, tmp_path):
    # Validated on the training patches: so few of them teach nothing about other scenes.
    seen, curve = PatchStore(tmp_path / "patches"), []
    seen.path.mkdir()
    for split in ("train", "val"):
        (seen.path / f"{split}.zarr").symlink_to(patches.path / "train.zarr")
    checkpoint, summary = make_control(
        params, seen, tmp_path / "net", lambda step, metrics: curve.append((step, metrics["val_mpsnr_db"]))
    )
    val = seen.open("val")
    val = val.read(spread(len(val), 16))
    error = np.square(upsample(val["lr"], 4).clip(0, 1) - val["hr"]).mean(axis=(0, 2, 3))
    assert [step for step, _ in curve] == [0, 80, 160]
    assert curve[0][1] == pytest.approx(-10 * np.log10(error).mean(), abs=1e-3)
    assert summary["val_mpsnr_db"] == max(value for _, value in curve) > curve[0][1]
    model = PcaResidual.from_checkpoint(checkpoint, consistency=0)
    assert mean_psnr_db(model, val) == pytest.approx(summary["val_mpsnr_db"], abs=1e-3)
    assert model.components == 12  # as many as there are bands


def test_a_control_that_goes_on_ends_with_the_same_bits(params, patches, tmp_path):
    def interrupt(step, metrics):
        if step == 160:  # the last resume point is that of step 80
            raise KeyboardInterrupt

    whole, _ = make_control(params, patches, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make_control(params, patches, tmp_path / "again", interrupt)
    steps = []
    again, _ = make_control(params, patches, tmp_path / "again", lambda step, metrics: steps.append(step))
    assert steps == [0, 80, 160]  # those before are told again, for the curve
    weights = [(folder.path / "model.safetensors").read_bytes() for folder in (whole, again)]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gae", "diffusion", "control"])
def test_two_processes_train_what_one_trains(params, patches, gae, latents, tmp_path, name):
    def train(devices):
        work, folder = tmp_path / f"work-{devices}", tmp_path / f"net-{devices}"
        work.mkdir()
        folder.mkdir()
        hardware = params.hardware.model_copy(update={"devices": devices})
        common = {"hardware": hardware, "work": work, "log": ignore}
        if name == "gae":
            train_gae(patches, folder, gae=params.gae, **common)
        elif name == "diffusion":
            train_diffusion(patches, gae, latents, folder, diffusion=params.diffusion, **common)
        else:
            optimizer = params.control.optimizer.model_copy(update={"steps": 6, "validate_every": 3})
            control = params.control.model_copy(update={"optimizer": optimizer})
            train_pca_residual(patches, folder, control=control, **common)
        return read_weights(folder)

    alone, shared = train(1), train(2)
    assert alone.keys() == shared.keys()
    for key, tensor in alone.items():
        torch.testing.assert_close(shared[key], tensor, rtol=1e-3, atol=1e-4)


def test_latents_of_another_autoencoder_are_refused(params, patches, latents, tmp_path):
    other, _ = make_gae(params, patches, tmp_path / "other", seed=1)
    with pytest.raises(IntegrityError, match="made by another autoencoder; run the stage latents again"):
        train_diffusion(
            patches,
            other,
            latents,
            tmp_path,
            diffusion=params.diffusion,
            hardware=params.hardware,
            work=tmp_path,
            log=ignore,
        )


def test_validation_patches_are_spread_and_never_more_than_there_are():
    assert spread(5, 16).tolist() == [0, 1, 2, 3, 4]
    assert spread(100, 3).tolist() == [0, 50, 99]
