"""Paths and names of the project."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsipipe.checkout import PARAMS
from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.json_text import parse_json
from hsipipe.methods.catalogue import candidates, entry, lineage
from hsipipe.params import Params, load_params
from hsipipe.restoration import TASKS
from tasks.running.rows import Row

DVC_LOCKS = ("dvc.lock", "tasks/dvc.lock")
"""DVC's lock files, which record the inputs and parameters of every output."""
METRICS = "reports/metrics.json"
"""Metrics of the evaluation, read by DVC and the report."""


def read_metrics(root: Path) -> dict[str, Any]:
    """Read the metrics of the evaluation.

    Raises:
        MissingInputError: The stage compare has not run.
        IntegrityError: The file is damaged.
    """
    try:
        tree = parse_json((root / METRICS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"No {METRICS} in {root}; run: python -m tasks repro") from error
    except ValueError as error:
        raise IntegrityError(f"{root / METRICS} is damaged ({error}); run: dvc repro --force compare") from error
    if not isinstance(tree, dict):
        raise IntegrityError(f"{root / METRICS} holds a {type(tree).__name__}; run: dvc repro --force compare")
    return tree


def summary_path(stage: str) -> str:
    """Return the metrics file of a stage, relative to the root; DVC shows it."""
    return f"reports/stages/{stage}.json"


def curve_path(stage: str, item: str) -> str:
    """Return the path of a training's curve, relative to the root; DVC plots the curves of methods."""
    return f"reports/{'autoencoders' if stage == 'train_gae' else 'curves'}/{item}.csv"


def curves(root: Path, methods: Sequence[str]) -> dict[str, Path]:
    """Return the training curves of methods, and of the autoencoders of their latents, by title."""
    rows = [Row.parse(name) for name in methods]
    found = [entry(name).autoencoder for row in rows for name in lineage(row.method)]
    used = dict.fromkeys(name for name in found if name is not None)
    trained = dict.fromkeys(name for row in rows for name in (*lineage(row.method)[:-1], row.trained))
    paths = {f"autoencoder {name}": root / curve_path("train_gae", name) for name in used}
    return paths | {name: root / curve_path("train", name) for name in trained}


def drop_other_rows(root: Path, rows: Sequence[str]) -> None:
    """Remove scores and curves of rows that the table no longer has; DVC keeps them in its cache, but also in place."""
    needed = [name for row in rows for name in lineage(Row.parse(row).method)]
    trained = [f"{name}.csv" for name in (*needed, *(Row.parse(row).trained for row in rows))]
    for folder, kept in (("reports/scores", rows), ("reports/curves", trained)):
        for path in (root / folder).glob("*"):
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:  # such as the lock of a publication that was killed
                path.unlink()


def model_name(params: Params) -> str:
    """Return the name of the registered model and of the MLflow experiment."""
    degradation = params.degradation
    name = f"hsipipe-{params.dataset.name}-{TASKS[degradation.task].model.format(scale=degradation.scale)}"
    # A separate name: a consumer of single-image models has no HR-MSI.
    return f"{name}-fusion" if any(entry(method).fuses for method in candidates(params)) else name


def own_model_name(root: Path) -> str:
    """Return the name of the model that this project registers.

    Raises:
        ParamsError: params.yaml is invalid.
    """
    return model_name(load_params(root / PARAMS))
