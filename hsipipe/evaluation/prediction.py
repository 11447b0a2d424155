"""Predict a region as it is scored: in memory, or a large one into a file."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hsipipe.artifacts import Pair
from hsipipe.inference.scene import context_of, predict_scene, predict_scene_into
from hsipipe.memory import check_memory
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.params import SamplingParams
from hsipipe.storage.stored_cube import StoredCube

PREDICTION = "prediction.npy"
"""File of the prediction of a large region, which the next one replaces."""
ADVICE = "divide the scene by split, or use a machine with more memory"
_BYTES = 4
_COPIES = 3
"""Predictions in memory while a method of whole scenes predicts."""


def predict_pair(
    model: SuperResolver, pair: Pair, *, msi: Any, sampling: SamplingParams, limits: tuple[float, float], folder: Path
) -> Any:
    """Predict a region (C, H, W), clipped.

    Args:
        model: Super-resolver; of a large region, one that takes a scene as one image needs the memory for it.
        pair: The region.
        msi: Its HR-MSI for a fusion model, else None.
        sampling: Tiles of whole scenes.
        limits: Range to which the values are clipped.
        folder: Gets the file of the prediction of a large region.

    Raises:
        DataError: The model cannot predict the region, or memory or disk are too small.
    """
    tiles: dict[str, Any] = {"tile": sampling.tile, "overlap": sampling.overlap}
    if not isinstance(pair.hr, StoredCube):
        return np.clip(predict_scene(model, pair.lr, msi=msi, **tiles), *limits)
    if copies := copies_held(model):
        check_whole(pair, copies, what=f"{model.name} of {pair.name} as one image")
        fine = None if msi is None else np.asarray(msi)
        return predict_scene(model, np.asarray(pair.lr), msi=fine, **tiles).clip(*limits)
    out = StoredCube.create(folder / PREDICTION, pair.hr.shape)
    predict_scene_into(out, model, pair.lr, msi=msi, limits=limits, **tiles)
    return out


def copies_held(model: SuperResolver) -> int:
    """Return how many images of the size of the truth are held while a model predicts; 0: it predicts in windows."""
    return _COPIES if getattr(model, "WHOLE_SCENE", False) and not context_of(model) else 0


def check_whole(pair: Pair, copies: int, *, what: str) -> None:
    """Check that a region fits into the memory so many times.

    Raises:
        DataError: It does not.
    """
    if copies:
        check_memory(copies * _BYTES * prod(pair.hr.shape), what=what, advice=ADVICE)
