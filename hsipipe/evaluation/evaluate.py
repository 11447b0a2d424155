"""Score every row on every whole test scene, the same way for all of them."""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.errors import DataError
from hsipipe.evaluation.calibration import predicted_error, summary
from hsipipe.evaluation.evidence import SceneEvidence, write_index
from hsipipe.evaluation.rows import (
    AnyRow,
    Prediction,
    Row,
    apply,
    apply_with_spread,
)
from hsipipe.evaluation.scoring import score
from hsipipe.evaluation.verdicts import baseline_of, judge
from hsipipe.progress import progress
from hsipipe.protocols import Protocol

_WARM_UP = 8
"""Edge in LR pixels of the corner that nothing is measured on."""


def evaluate(
    pairs: DegradedPairs,
    rows: Sequence[AnyRow],
    out: Path,
    *,
    protocol: Protocol,
    response: NDArray[np.float64] | None = None,
    of_pair: bool = False,
) -> dict[str, Any]:
    """Predict and score the test scenes.

    Args:
        pairs: Where the test scenes lie.
        rows: What is compared.
        out: Existing empty folder; gets one .npz a scene and an index, for the report.
        protocol: The frame that the pairs were made in.
        response: Spectral response (c, C) that the HR-MSI of the pairs was made with, where known.
        of_pair: Also score the metrics that need an HR-MSI (:attr:`hsipipe.protocols.metrics.Metric.of_pair`).

    Returns:
        The tree of metrics.json, ready for strict JSON: ``models`` (means over scenes), ``scenes``,
        ``test_set`` (name, shape and digest of each scene), ``protocol``, ``gain_db`` (MPSNR over the baseline)
        and ``verdicts``; with rows of several samples ``uncertainty``
        (:data:`hsipipe.evaluation.calibration.UNCERTAINTY_DEFINITIONS`). A value that is not finite is None.

    Raises:
        DataError: No test scene, or a row that cannot be scored (named, with its scene).
    """
    names = pairs.names("test")
    if not names:
        raise DataError("There is no test scene, expected at least one; check the group split in params.yaml.")
    scenes: dict[str, dict[str, dict[str, float]]] = {}
    test_set, calibration = [], []
    with progress("evaluate", len(names) * len(rows)) as advance:
        for name in names:
            pair = pairs.read("test", name)
            if not scenes:
                _warm_up(rows, pair, scale=protocol.scale)
            scenes[name] = {}
            predictions: list[Prediction] = []
            spreads: dict[int, Prediction] = {}
            for row in rows:
                prediction, spread, scenes[name][row.name] = _score_row(
                    row, pair, protocol, response=response, of_pair=of_pair
                )
                if spread is not None:
                    spreads[len(predictions)] = spread
                if row.kind != "ceiling":
                    predictions.append(prediction)
                advance(note=f"{name}: {row.name}")
            evidence = SceneEvidence.of(pair, predictions, spreads)
            evidence.save(out / f"{name}.npz")
            calibration.append(evidence.calibration)
            test_set.append({"scene": name, "shape": list(pair.hr.shape), "sha256": pair_digest(pair)})
    shown = [row.name for row in rows if row.kind != "ceiling"]
    write_index(out, scenes=names, rows=shown, protocol=protocol)
    tree = _assemble(rows, scenes, test_set, protocol)
    return {**tree, **_uncertainty(rows, np.sum(calibration, axis=0))}


def _uncertainty(rows: Sequence[AnyRow], calibration: NDArray[np.float64]) -> dict[str, Any]:
    sampled = [row for row in rows if isinstance(row, Row) and row.spread is not None]
    numbers = {row.name: summary(sums, samples=row.samples) for row, sums in zip(sampled, calibration, strict=True)}
    return {"uncertainty": finite(numbers)} if numbers else {}


def _warm_up(rows: Sequence[AnyRow], pair: Pair, *, scale: int) -> None:
    """Each row once on a corner: a first call allocates and picks kernels, and is no scene's time."""
    if min(pair.lr.shape[1:]) < _WARM_UP:
        return
    low, high = (np.s_[:, :edge, :edge] for edge in (_WARM_UP, _WARM_UP * scale))
    msi = None if pair.msi is None else pair.msi[high]
    corner = replace(pair, hr=pair.hr[high], lr=pair.lr[low], msi=msi)
    for row in rows:
        apply(row, corner)


def _score_row(
    row: AnyRow, pair: Pair, protocol: Protocol, *, response: NDArray[np.float64] | None, of_pair: bool
) -> tuple[Prediction, Prediction | None, dict[str, float]]:
    """The row's prediction of a scene, what it says of the prediction's error, and its metrics."""
    started = time.perf_counter()
    prediction, spread = apply_with_spread(row, pair)
    seconds = time.perf_counter() - started
    low, high = protocol.conventions.prediction_range
    prediction = np.clip(prediction, low, high)
    try:
        values = score(
            prediction,
            pair.hr,
            protocol.scale,
            lr=pair.lr,
            psf=protocol.psf,
            ergas_ratio=protocol.ergas_ratio,
            msi=pair.msi if of_pair else None,
            response=response,
        )
    except DataError as error:
        raise DataError(f"{row.name} on {pair.name}: {error}") from error
    expected = predicted_error(spread, row.samples) if isinstance(row, Row) and spread is not None else None
    return prediction, expected, {**values, "seconds_per_image": seconds, "nfe": row.nfe}


def _assemble(
    rows: Sequence[AnyRow],
    scenes: Mapping[str, Mapping[str, Mapping[str, float]]],
    test_set: Sequence[Mapping[str, Any]],
    protocol: Protocol,
) -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {}
    for row in rows:
        of_row = [scene[row.name] for scene in scenes.values()]
        models[row.name] = {key: float(np.mean([values[key] for values in of_row])) for key in of_row[0]}
        models[row.name]["nfe"] = row.nfe
        models[row.name]["kind"] = row.kind
    baseline = baseline_of(models)
    tree: dict[str, Any] = finite(
        {
            "models": models,
            "scenes": scenes,
            "gain_db": {
                name: values["mpsnr_db"] - models[baseline]["mpsnr_db"]
                for name, values in models.items()
                if baseline is not None and name != baseline
            },
            "test_set": test_set,
            "protocol": protocol.as_json(),
        }
    )
    tree["verdicts"] = [verdict.text for verdict in judge(tree)]
    return tree


def finite(tree: Any) -> Any:
    """The same tree with None for every number that JSON has no word for."""
    if isinstance(tree, Mapping):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return None
    return tree


def pair_digest(pair: Pair) -> str:
    """Sha256 of shapes and values of truth and input: the same test scene, whatever its file."""
    digest = hashlib.sha256()
    for array in (pair.hr, pair.lr):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
