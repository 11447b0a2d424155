"""Parameters with changes, and the pipeline's scenes, pairs, patches and trained methods, each made once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hsipipe.artifacts import Artifact, DegradedPairs, GaeCheckpoint, LatentStore, PatchStore, RawScenes, TrainedMethod
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.methods.catalogue import entry, gae_settings, load_model, method_settings
from hsipipe.params import Params, parse_params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish
from hsipipe.training.latents import encode_latents
from hsipipe.training.loop import Log
from hsipipe.training.train import train_method
from hsipipe.training.train_gae import train_gae


def changed(params: Params, changes: Mapping[str, Any]) -> Params:
    """`params` with the leaves of the nested `changes`."""
    return parse_params(_merged(params.model_dump(), changes))


def _merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        key: _merged(tree[key], change)
        for key, change in changes.items()
        if isinstance(change, Mapping) and isinstance(tree.get(key), Mapping)
    }
    return {**tree, **changes, **nested}


def once(artifact: Artifact, make: Callable[[Path], object]) -> None:
    if not artifact.path.exists():
        with publish(artifact.path) as out:
            make(out)


def prepare(params: Params, root: Path) -> None:
    scenes, pairs = RawScenes.in_project(root), DegradedPairs.in_project(root)
    once(scenes, lambda out: prepare_scenes(params.dataset, out))
    once(pairs, lambda out: make_pairs(scenes, out, split=params.split, degradation=params.degradation))
    once(PatchStore.in_project(root), lambda out: extract_patches(pairs, out, patches=params.patches))


def trained(name: str, params: Params, root: Path, folder: Path, *, log: Log = lambda step, metrics: None) -> Any:
    """The method, trained on the patches in `root`; `folder` gets it and its autoencoder, and keeps what is begun."""
    patches, latents = PatchStore.in_project(root), autoencoder(name, params, root, folder)
    mean = entry(name).mean
    if mean is not None:
        trained(mean, params, root, folder)
    own, work = method_settings(params, name), _folder(folder / f"work-{name}")
    done, given = TrainedMethod(folder / name), None if mean is None else TrainedMethod(folder / mean)
    common = {"latents": latents, "mean": given, "work": work, "hardware": params.hardware, "log": log}
    once(done, lambda out: train_method(name, own, patches, out, **common))
    return load_model(done.path)


def autoencoder(name: str, params: Params, root: Path, folder: Path) -> tuple[LatentStore, GaeCheckpoint] | None:
    """The latents and the autoencoder that a method trains on, made in `folder`; None for a method without one."""
    own = entry(name).autoencoder
    if own is None:
        return None
    patches, gae, encoded = PatchStore.in_project(root), GaeCheckpoint(folder / "gae"), LatentStore(folder / "latents")
    common = {"hardware": params.hardware, "log": lambda step, metrics: None, "work": _folder(folder / "work-gae")}
    once(gae, lambda out: train_gae(patches, out, gae=gae_settings(params, own), **common))
    once(encoded, lambda out: encode_latents(patches, gae, out, hardware=params.hardware))
    return encoded, gae


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
