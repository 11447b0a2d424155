"""Parameters with changes, and the pipeline's scenes, pairs and patches in a folder, each made once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hsipipe.artifacts import Artifact, DegradedPairs, PatchStore, RawScenes
from hsipipe.datasets.prepare import prepare_scenes
from hsipipe.degradation.pairs import make_pairs
from hsipipe.params import Params, parse_params
from hsipipe.patches.extract import extract_patches
from hsipipe.storage.publish import publish


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
