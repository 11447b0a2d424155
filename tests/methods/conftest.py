"""One tiny data set with an HR-MSI, its patches and latents, and every method of the catalogue in a tiny size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore, RawScenes, TrainedMethod
from hsipipe.artifacts.pairs import DegradedPairs
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.methods.base import TrainingData
from hsipipe.methods.catalogue import entry, gae_settings, method_settings, methods
from hsipipe.params import HardwareParams, Params, inherited, load_params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish
from hsipipe.training.latents import encode_latents
from hsipipe.training.train import train_method
from hsipipe.training.train_gae import train_gae

BANDS, SCALE, PATCH = 12, 4, 24
QUICK = {"steps": 6, "batch": 2, "warmup": 1, "validate_every": 3, "save_every": 2, "lr": 0.002, "ema": 0.0}
NET = {"width": 8, "multipliers": [1], "attention": [], "unshuffle": 2, "blocks": 1}
TINY = {
    "width": 8,
    "blocks": 1,
    "recursions": 2,
    "n_subs": 6,
    "n_ovls": 2,
    "endmembers": 4,
    "stages": 2,
    "layers": 2,
    "components": 4,
    "unet": NET,
    "scale_net": NET,
    "diffusion_net": NET,
    "validation_samples": 2,
    "net": {"width": 8, "levels": 2, "layers": 1, "window": 4, "heads": 2, "checkpoint": False},
    "progressive": [{"until": 1.0, "size": 16, "batch": 2, "trains": "all"}],
    "validation_steps": 2,
    "head_width": 4,
    "attention_px": 8,
    "rank": 4,
    "refinements": 1,
    "pyramids": 1,
    "turns": 2,
    "optimizer": QUICK,
}
SMALL_GROUPS = {
    "n_subs": 6,
    "n_ovls": 2,
    "width": 8,
    "global_width": 8,
    "loss": {"perceptual": 0.0},
    "optimizer": QUICK,
}
HARDWARE = HardwareParams(accelerator="cpu", precision="32-true", compile=False, devices=1)


def shrunk(tree, changes):
    """A tree with those changes whose keys it has, at any depth."""
    kept = {key: value for key, value in changes.items() if key in tree}
    out = {**tree, **{key: value for key, value in kept.items() if not isinstance(value, dict)}}
    for key, value in out.items():
        if isinstance(value, dict):
            out[key] = shrunk(value, kept.get(key, {}) or {k: v for k, v in changes.items() if k == "validation_steps"})
    return out


@pytest.fixture(scope="session")
def hardware():
    """A function that gives this machine's hardware with another number of processes."""
    return lambda devices: HARDWARE.model_copy(update={"devices": devices})


@pytest.fixture(scope="session")
def params(repository) -> Params:
    tree = load_params(repository / "params.yaml").model_dump()
    tree["dataset"]["synthetic"] |= {"scenes": 3, "size": 48, "bands": BANDS}
    tree["degradation"]["scale"] = SCALE
    tree["patches"] |= {"size": PATCH, "stride": PATCH, "shard": 4}
    tree["methods"] = {name: shrunk(value, TINY) for name, value in tree["methods"].items()}
    for name in ("cst", "cst-small"):
        tree["methods"][name]["width"] = 12  # the fewest that its heads share
    tree["methods"]["spectralift"]["steps"] = 6
    groups = {name: shrunk({**tree["gae"]["standard"], **value}, SMALL_GROUPS) for name, value in tree["gae"].items()}
    tree["gae"] = {name: {**value, **_own(tree["gae"][name])} for name, value in groups.items()}
    return Params.model_validate(tree)


def _own(value):
    """What an ablation of the autoencoder is about; its numbers of bands fit 12."""
    own = {key: value[key] for key in ("encoder", "global_decoder", "linear_path", "latent_channels") if key in value}
    if ("n_subs" in value and value.get("encoder") == "identity") or value.get("n_subs") == "all":
        own |= {"n_subs": value["n_subs"], "n_ovls": value["n_ovls"]}
    return own


@pytest.fixture(scope="session")
def make_store(params):
    """A function that makes the patches of tiny scenes, with changes of groups of params.yaml."""

    def make(root, **changes) -> PatchStore:
        tree = params.model_dump()
        for group, values in changes.items():
            tree[group] = {**tree[group], **values}
        own = Params.model_validate(tree)
        scenes, pairs, patches = RawScenes(root / "raw"), DegradedPairs(root / "pairs"), PatchStore(root / "patches")
        with publish(scenes.path) as out:
            prepare_scenes(own.dataset, out)
        with publish(pairs.path) as out:
            make_pairs(scenes, out, split=own.split, degradation=own.degradation)
        with publish(patches.path) as out:
            extract_patches(pairs, out, patches=own.patches)
        return patches

    return make


@pytest.fixture(scope="session")
def store(make_store, tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def make_gae(params, store):
    """A function that trains an autoencoder, with changes of its settings."""

    def make(folder, name="standard", *, patches=store, hardware=HARDWARE, **changes):
        (folder / "work").mkdir(parents=True)
        settings, log = gae_settings(params, name), lambda step, row: None
        gae = settings.model_validate(settings.model_dump() | changes)
        with publish(folder / "gae") as out:
            summary = train_gae(patches, out, gae=gae, hardware=hardware, work=folder / "work", log=log)
        return GaeCheckpoint(folder / "gae"), summary

    return make


@pytest.fixture(scope="session")
def latents(store, make_gae, tmp_path_factory):
    """A function that gives the latents of an autoencoder and the autoencoder, made once."""
    made = {}

    def give(name):
        if name not in made:
            root = tmp_path_factory.mktemp("latents")
            gae, encoded = make_gae(root, name)[0], LatentStore(root / "latents")
            with publish(encoded.path) as out:
                encode_latents(store, gae, out, hardware=HARDWARE)
            made[name] = (encoded, gae)
        return made[name]

    return give


@pytest.fixture(scope="session")
def untrained(params, store, latents, regression):
    """A function that makes a method of the catalogue before its first training step."""

    def make(name):
        kind, autoencoder = methods()[name], entry(name).autoencoder
        folders = (None, None) if autoencoder is None else (latents(autoencoder)[0].path, latents(autoencoder)[1].path)
        mean = None if entry(name).mean is None else regression(entry(name).mean).path
        arrays = getattr(kind, "ARRAYS", ("hr", "lr"))
        data = TrainingData(store.open("train", arrays), store.open("val", arrays), *folders, mean)
        return kind.untrained(method_settings(params, name), data).named(name), data

    return make


@pytest.fixture(scope="session")
def regression(params, store, latents, tmp_path_factory):
    """A function that gives a trained regression, made once."""
    made = {}

    def give(name):
        if name not in made:
            folder, autoencoder = tmp_path_factory.mktemp("regression"), entry(name).autoencoder
            with publish(folder / name) as out:
                train_method(
                    name,
                    method_settings(params, name),
                    store,
                    out,
                    latents=latents(autoencoder) if autoencoder else None,
                    hardware=HARDWARE,
                    work=folder,
                    log=lambda step, metrics: None,
                )
            made[name] = TrainedMethod(folder / name)
        return made[name]

    return give


@dataclass(frozen=True)
class Trained:
    """A trained method, and what its training logged."""

    folder: Path
    summary: dict[str, float]
    curve: list[tuple[int, dict[str, float]]]

    def weights(self) -> bytes:
        return (self.folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="session")
def train(params, store, latents, regression):
    """A function that trains a method of the catalogue in a folder, where it continues what was interrupted."""

    def run(name, folder, *, patches=store, encoded=None, log=None, hardware=HARDWARE, **changes) -> Trained:
        (folder / "work").mkdir(parents=True, exist_ok=True)
        autoencoder, curve = entry(name).autoencoder, []
        tree = method_settings(params, name).model_dump()
        settings = methods()[name].Settings.model_validate(inherited({"its": tree, "own": changes}, "own", "its"))
        with publish(folder / "out") as out:
            summary = train_method(
                name,
                settings,
                patches,
                out,
                latents=encoded or (latents(autoencoder) if autoencoder else None),
                mean=None if entry(name).mean is None else regression(entry(name).mean),
                hardware=hardware,
                work=folder / "work",
                log=log or (lambda step, metrics: curve.append((step, dict(metrics)))),
            )
        return Trained(folder / "out", summary, curve)

    return run


@pytest.fixture
def images():
    """LR-HSI (2, C, 8, 8) and the HR-MSI (2, 3, 32, 32) of the same places."""
    rng = np.random.default_rng(0)
    return rng.random((2, BANDS, 8, 8), dtype=np.float32), rng.random((2, 3, 32, 32), dtype=np.float32)
