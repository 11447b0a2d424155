"""The stages by name, in the order of the pipeline, and the items that each runs for."""

from pathlib import Path
from typing import Any

from hsipipe.errors import ParamsError
from hsipipe.methods.catalogue import entry, lineage
from hsipipe.params import Params
from hsipipe.registry import Registry
from tasks.running.rows import Row, all_rows
from tasks.stage import Stage

NAMES = ("download", "degrade", "patches", "train_gae", "latents", "train", "evaluate", "compare", "register", "report")
_ON_DEMAND = "tasks/dvc.yaml"
"""File of the stages that run only when another stage needs their output."""

EACH = {"train_gae": "AUTOENCODER", "latents": "AUTOENCODER", "train": "METHOD", "evaluate": "METHOD"}
"""The stages that run once for each item."""

STAGES: Registry[Stage[Any]] = Registry("stage", {name: f"tasks.{name}:{name}" for name in NAMES})


def items(params: Params, name: str) -> list[str]:
    """Return the items of a stage by params.yaml; a single empty string for a stage that runs once."""
    rows = all_rows(params)
    if name in ("train_gae", "latents"):
        found = [entry(name).autoencoder for row in rows for name in lineage(row.method)]
        return list(dict.fromkeys(item for item in found if item is not None))
    if name == "train":
        return list(dict.fromkeys(name for row in rows for name in (*lineage(row.method)[:-1], row.trained)))
    if name == "evaluate":
        return [row.name for row in rows]
    return [""]


def labels(params: Params) -> list[str]:
    """Return the stages of a run by params.yaml as the log names them: ``download``, ``train@edsr``."""
    return [STAGES[name].label(item) for name in NAMES for item in items(params, name)]


def address(name: str, item: str = "") -> str:
    """Return DVC's name of a stage: ``evaluate@edsr``, ``tasks/dvc.yaml:train@edsr``, ``train_seed@edsr-1``."""
    row = Row.parse(item)
    if row.seed is not None:
        return f"{name}_seed@{row.method}-{row.seed}"
    if row.steps is not None:
        return f"{name}_steps@{row.method}-{row.steps}"
    label = f"{name}@{item}" if item else name
    return f"{_ON_DEMAND}:{label}" if name in ("train_gae", "latents", "train") else label


def as_target(text: str) -> str:
    """Translate a stage (``train@edsr``, ``download``) to DVC's name; return any other text unchanged.

    Raises:
        ParamsError: The stage runs for each method or autoencoder, and the target names none; or it is an override.
    """
    name, _, item = text.partition("@")
    if "=" in text and not Path(text).exists():
        raise ParamsError(f"Got the target {text!r}, expected a stage; every override has its own -S: -S {text}")
    if name not in NAMES or ":" in text:
        return text
    if name in EACH and not item:
        raise ParamsError(
            f"Got the target {name}, expected {name}@{EACH[name]}: DVC would run it for the whole catalogue. Without a "
            "target, everything runs that params.yaml asks for."
        )
    return address(name, item)
