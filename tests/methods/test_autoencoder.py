"""The autoencoder's training and its latents."""

import shutil

import numpy as np
import pytest
import torch
import zarr

from hsipipe.artifacts import PatchStore
from hsipipe.errors import DataError
from hsipipe.methods.checkpoint import read_weights
from hsipipe.methods.dmgasr.gae import load_gae

WINDOWS = {"window_nm": 330.0, "global_decoder": False}  # 12 bands from 400 to 1000 nm


def training_cubes(store):
    train = store.open("train", ("hr",))
    return torch.from_numpy(train.read(np.arange(len(train)))["hr"])


def is_whitened(latent):
    return torch.allclose(latent.std(dim=(0, 3, 4)), torch.ones(latent.shape[1:3]), atol=0.05, rtol=0)


def test_it_starts_near_the_truth_and_is_whitened(store, latents):
    module, hr = load_gae(latents("standard")[1].path), training_cubes(store)
    assert float((module(hr) - hr).square().mean()) < 1e-3
    assert is_whitened(module.encode(hr))
    assert module.residual_std.shape == (3, 3, 1, 1)
    assert (module.residual_std < 1).all()


def test_the_same_seed_gives_the_same_autoencoder_and_another_another(latents, make_gae, tmp_path):
    made = [latents("standard")[1], make_gae(tmp_path / "again")[0], make_gae(tmp_path / "other", seed=1)[0]]
    weights = [(gae.path / "model.safetensors").read_bytes() for gae in made]
    assert weights[0] == weights[1] != weights[2]


def test_more_bands_in_a_group_than_in_the_cube_is_an_error(make_gae, tmp_path):
    with pytest.raises(DataError, match=r"has 12 bands, a group needs 16"):
        make_gae(tmp_path, n_subs=16, n_ovls=4)
    assert not (tmp_path / "gae").exists()


def test_windows_lie_where_the_bands_of_the_training_patches_are(store, make_gae, tmp_path):
    gae, summary = make_gae(tmp_path, **WINDOWS)
    module, hr = load_gae(gae.path), training_cubes(store)
    assert module.wavelength_nm == tuple(store.open("train", ("hr",)).attrs["wavelength_nm"])
    assert summary["groups"] == module.plan.count == 3
    assert float((module(hr) - hr).square().mean()) < 1e-3
    assert is_whitened(module.encode(hr))


def test_windows_without_wavelengths_are_an_error_that_says_what_to_set(store, make_gae, tmp_path):
    unknown = PatchStore(shutil.copytree(store.path, tmp_path / "patches"))
    zarr.open_group(unknown.path / "train.zarr", mode="a").attrs["wavelength_nm"] = []
    with pytest.raises(DataError, match=r"are unknown.*dataset.folder.wavelength_nm or drop_bands, or gae"):
        make_gae(tmp_path, patches=unknown, **WINDOWS)


@pytest.mark.parametrize(("name", "groups"), [("pixels-3", 4), ("pixels-all", 1)])
def test_without_networks_whitening_is_all_that_is_found(store, make_gae, tmp_path, name, groups):
    gae, summary = make_gae(tmp_path, name)
    assert summary == {"parameters": 0, "groups": groups}
    module, hr = load_gae(gae.path), training_cubes(store)
    latent = module.encode(hr)
    assert latent.shape[1:3] == (groups, 12 // groups)
    assert is_whitened(latent)
    torch.testing.assert_close(module.decode(latent), hr)


def test_latents_are_those_of_the_patches(store, latents):
    encoded, gae = latents("standard")
    module = load_gae(gae.path)
    for split in ("train", "val"):
        source, stored = store.open(split, ("hr",)), encoded.open(split)
        assert len(stored) == len(source)
        expected = module.encode(torch.from_numpy(source.read([1])["hr"])).numpy()
        np.testing.assert_allclose(stored.read([1])["hr"], expected, atol=1e-5)
    assert not (encoded.path / "test.zarr").exists()


@pytest.mark.slow
def test_two_processes_train_what_one_trains(latents, make_gae, hardware, tmp_path):
    shared = read_weights(make_gae(tmp_path, hardware=hardware(devices=2))[0].path)
    alone = read_weights(latents("standard")[1].path)
    assert alone.keys() == shared.keys()
    for key, tensor in alone.items():
        torch.testing.assert_close(shared[key], tensor, rtol=1e-3, atol=1e-4)
