"""Scenes, pairs and patches in a folder, as the pipeline makes them; what is there is not made again."""

from collections.abc import Callable
from pathlib import Path

from hsipipe.artifacts import Artifact, DegradedPairs, PatchStore, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.params import Params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish


def once(artifact: Artifact, make: Callable[[Path], object]) -> None:
    if not artifact.path.exists():
        with publish(artifact.path) as out:
            make(out)


def prepare(params: Params, root: Path) -> None:
    scenes, pairs = RawScenes.in_project(root), DegradedPairs.in_project(root)
    once(scenes, lambda out: prepare_scenes(params.dataset, out))
    once(pairs, lambda out: make_pairs(scenes, out, split=params.split, degradation=params.degradation))
    once(PatchStore.in_project(root), lambda out: extract_patches(pairs, out, patches=params.patches))
