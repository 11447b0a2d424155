"""Compare models on the same test scenes, by the same code, in the same process."""

import hashlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.evaluation.gate import Scores
from hsipipe.evaluation.prediction import predict_pair
from hsipipe.evaluation.score_method import pair_digest
from hsipipe.evaluation.scoring import score
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.params import SamplingParams
from hsipipe.progress import progress
from hsipipe.protocols import Protocol

_ROUNDS = 5
HASH_LENGTH = 16


@dataclass(frozen=True)
class Contest:
    """The result of a comparison.

    Attributes:
        scores: Scores of each model by scene and metric, in the order of the models.
        latency_s: Seconds of one prediction of each model, on a tile of a scene: median of several alternating runs.
        hash: Identifies the comparison: content of the scenes, degradation, definitions of the metrics, tiles. Numbers
            with different hashes must not be compared.
    """

    scores: tuple[Scores, ...]
    latency_s: tuple[float, ...]
    hash: str


def compare(
    models: tuple[SuperResolver, ...],
    pairs: DegradedPairs,
    *,
    protocol: Protocol,
    sampling: SamplingParams,
    leave_out: Collection[str] = (),
) -> Contest:
    """Score models on whole test scenes, predicted as in production.

    Args:
        models: For example challenger and champion.
        pairs: The degraded test scenes.
        protocol: Simulation of the pairs and conventions of their scores.
        sampling: Tiles of whole scenes.
        leave_out: Test scenes to skip.

    Raises:
        DataError: A prediction cannot be scored.
        ModelInputError: A model does not take the scenes.
    """
    names = [name for name in pairs.names("test") if name not in leave_out]
    response = pairs.response()
    scores: tuple[dict[str, dict[str, float]], ...] = tuple({} for _ in models)
    digests, latency = {}, tuple(0.0 for _ in models)
    with progress("gate", len(names) * len(models)) as advance:
        for name in names:
            with TemporaryDirectory(prefix="hsipipe-") as folder:
                pair, own = pairs.read("test", name, folder=Path(folder)), {"folder": Path(folder)}
                digests[name] = pair_digest(pair)
                for model, of_model in zip(models, scores, strict=True):
                    of_model[name] = _score(model, pair, protocol=protocol, sampling=sampling, response=response, **own)
                    advance(note=f"{name}: {model.name}")
                if name == names[0]:
                    latency = _latencies(models, pair, sampling)
    return Contest(scores, latency, _hash(protocol, sampling, digests))


def _score(
    model: SuperResolver, pair: Pair, *, protocol: Protocol, sampling: SamplingParams, response: Any, folder: Path
) -> dict[str, float]:
    msi = pair.msi if model.msi_bands != 0 else None
    limits = protocol.conventions.prediction_range
    return score(
        predict_pair(model, pair, msi=msi, sampling=sampling, limits=limits, folder=folder),
        pair.hr,
        protocol.scale,
        lr=pair.lr,
        psf=protocol.psf,
        ergas_ratio=protocol.ergas_ratio,
        msi=msi,
        response=response if msi is not None else None,
        valid=pair.valid,
    )


def _latencies(models: tuple[SuperResolver, ...], pair: Pair, sampling: SamplingParams) -> tuple[float, ...]:
    """Time the models in turn, so that other load on the machine affects all of them alike."""
    edge = min(sampling.tile, *pair.lr.shape[1:])
    corner = pair.lr[:, :edge, :edge]
    spent: list[list[float]] = [[] for _ in models]
    for turn in range(_ROUNDS + 1):
        for model, times in zip(models, spent, strict=True):
            fine = edge * model.scale
            msi = pair.msi[:, :fine, :fine] if pair.msi is not None and model.msi_bands != 0 else None
            started = time.perf_counter()
            predict_scene(model, corner, tile=sampling.tile, overlap=sampling.overlap, msi=msi)
            if turn:  # the first call allocates
                times.append(time.perf_counter() - started)
    return tuple(float(np.median(times)) for times in spent)


def _hash(protocol: Protocol, sampling: SamplingParams, digests: dict[str, str]) -> str:
    # Not the protocol's own hash: it depends on the training scenes of a model, too.
    fields = {key: value for key, value in protocol.fields().items() if not key.startswith(("plan.", "dataset."))}
    tree = {"protocol": fields, "scenes": digests, "tile": sampling.tile, "overlap": sampling.overlap}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:HASH_LENGTH]
