"""One small experiment from the scenes to the table: two scenes cut into regions, four trainings of a few steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hsipipe.artifacts import DegradedPairs, GaeCheckpoint, LatentStore, PatchStore, RawScenes, TrainedMethod
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.evaluation.comparison import RowScores, compare_scores
from hsipipe.evaluation.score_method import score_method
from hsipipe.methods.catalogue import gae_settings, load_model, method_settings
from hsipipe.params import Params, load_params
from hsipipe.patches.extract import extract_patches
from hsipipe.protocols import make_protocol
from hsipipe.storage.publish import publish
from hsipipe.training.latents import encode_latents
from hsipipe.training.train import train_method
from hsipipe.training.train_gae import train_gae

BANDS, SIZE, SCALE, GUARD = 12, 80, 4, 8
METHODS = ("bicubic", "pca-residual", "dmgasr-latent", "dmgasr-regression")


@dataclass(frozen=True)
class Training:
    """A checkpoint, what its training logged, and where its resume point was."""

    checkpoint: Any
    summary: dict[str, float]
    curve: list[tuple[int, dict[str, float]]]
    work: Path


@pytest.fixture(scope="session")
def params(repository) -> Params:
    """12 bands in three groups of 6, patches of 16 pixels, four steps of the sampler, tiles of 8 LR pixels."""
    quick = {"steps": 6, "batch": 2, "warmup": 1, "validate_every": 2, "save_every": 2}
    tree = load_params(repository / "params.yaml").model_dump()
    tree["dataset"]["synthetic"] |= {"scenes": 2, "size": SIZE, "bands": BANDS}
    tree["split"] |= {"by": "region", "val": 0.25, "test": 0.25, "guard": GUARD}
    tree["degradation"]["scale"] = SCALE
    tree["patches"] |= {"size": 16, "stride": 8, "shard": 16}
    gae, methods = tree["gae"]["standard"], tree["methods"]
    gae |= {"n_subs": 6, "n_ovls": 2, "width": 8, "global_width": 8}
    methods["dmgasr-latent"]["unet"]["width"] = 8
    methods["pca-residual"] |= {"width": 8, "blocks": 1}
    for group in (gae, methods["dmgasr-latent"], methods["pca-residual"]):
        group["optimizer"] |= quick
    tree["sampling"] |= {"steps": 4, "tile": 8, "overlap": 2}
    tree["hardware"]["accelerator"] = "cpu"
    return Params.model_validate(tree)


@pytest.fixture(scope="session")
def raw(params, tmp_path_factory) -> RawScenes:
    scenes = RawScenes(tmp_path_factory.mktemp("scenes") / "raw")
    with publish(scenes.path) as out:
        prepare_scenes(params.dataset, out)
    return scenes


@pytest.fixture(scope="session")
def pairs(params, raw, tmp_path_factory) -> DegradedPairs:
    """Of each scene 36 x 80 pixels for training, and 36 x 36 each for validation and test."""
    made = DegradedPairs(tmp_path_factory.mktemp("pairs") / "pairs")
    with publish(made.path) as out:
        make_pairs(raw, out, split=params.split, degradation=params.degradation)
    return made


@pytest.fixture(scope="session")
def patches(params, pairs, tmp_path_factory) -> PatchStore:
    store = PatchStore(tmp_path_factory.mktemp("patches") / "patches")
    with publish(store.path) as out:
        extract_patches(pairs, out, patches=params.patches)
    return store


@pytest.fixture(scope="session")
def train(params, tmp_path_factory):
    """A function that trains the autoencoder ("gae") or a method on patches (and latents)."""

    def run(name: str, patches: PatchStore, gae: Any = None, latents: Any = None) -> Training:
        root = tmp_path_factory.mktemp(name)
        work, curve = root / "work", []
        work.mkdir()
        how = {"hardware": params.hardware, "work": work, "log": lambda step, row: curve.append((step, dict(row)))}
        with publish(root / "checkpoint") as out:
            if name == "gae":
                summary = train_gae(patches, out, gae=gae_settings(params, "standard"), **how)
            else:
                given = (latents, gae) if name.startswith("dmgasr") else None
                summary = train_method(name, method_settings(params, name), patches, out, latents=given, **how)
        kind = GaeCheckpoint if name == "gae" else TrainedMethod
        return Training(kind(root / "checkpoint"), summary, curve, work)

    return run


@pytest.fixture(scope="session")
def latents(params, patches, gae, tmp_path_factory) -> LatentStore:
    store = LatentStore(tmp_path_factory.mktemp("latents") / "latents")
    with publish(store.path) as out:
        encode_latents(patches, gae, out, hardware=params.hardware)
    return store


@pytest.fixture(scope="session")
def gae_training(train, patches) -> Training:
    return train("gae", patches)


@pytest.fixture(scope="session")
def gae(gae_training) -> GaeCheckpoint:
    return gae_training.checkpoint


@pytest.fixture(scope="session")
def trainings(train, patches, gae_training, gae, latents) -> dict[str, Training]:
    """Every training of the pipeline, by what it trains."""
    return {"gae": gae_training, **{name: train(name, patches, gae, latents) for name in METHODS}}


@pytest.fixture(scope="session")
def methods(params, trainings):
    """The methods of the table, as they predict."""
    return {name: load_model(trainings[name].checkpoint.path).prepared(params.sampling.of(name)) for name in METHODS}


@pytest.fixture(scope="session")
def protocol(params, pairs):
    index = pairs.index()
    groups = {name: getattr(params, name) for name in ("dataset", "split", "degradation")}
    return make_protocol("default", plan=index["splits"], srf=index["srf"], **groups)


@pytest.fixture(scope="session")
def evaluate(params):
    """A function that scores one method."""

    def run(name, method, pairs, out, *, protocol):
        return score_method(method, pairs, out, row=name, sha256="0", protocol=protocol, sampling=params.sampling)

    return run


@pytest.fixture(scope="session")
def metrics(pairs, methods, protocol, evaluate, tmp_path_factory):
    """The content of metrics.json."""
    rows = []
    for name, method in methods.items():
        scores = evaluate(name, method, pairs, tmp_path_factory.mktemp("scores"), protocol=protocol)
        rows.append(RowScores(name, [scores]))
    return compare_scores(rows)


@pytest.fixture(scope="session")
def tested(pairs):
    """The test regions."""
    return [pairs.read("test", name) for name in pairs.names("test")]
