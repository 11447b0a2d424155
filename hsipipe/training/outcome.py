"""The result of a training."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from hsipipe.errors import IntegrityError
from hsipipe.json_text import parse_json

FILE = "training.json"
"""File of a trained model with the numbers of its training."""


@dataclass(frozen=True)
class Fit:
    """The result of a training.

    Attributes:
        steps: Number of completed optimizer steps.
        seconds: Wall time of these steps and their validations.
        weights: State dict of the best validation.
        best_step: Step of the best validation.
        best_value: Its first validation metric.
        resumed_at: The step at which this process resumed; 0 for a fresh start.
        collapses: Step and reason of each collapse, after which it went on from the best step with half the rate.
        skipped: Steps that were skipped for their gradient or loss.
        fault: Why the result is not that of a completed training; empty: it is.
    """

    steps: int
    seconds: float
    weights: dict[str, Tensor]
    best_step: int
    best_value: float
    resumed_at: int
    collapses: tuple[str, ...] = ()
    skipped: int = 0
    fault: str = ""

    def summary(self, module: nn.Module, *, metric: str) -> dict[str, float | str]:
        """Return the numbers of a training stage, and its collapses and fault if there are any.

        Args:
            module: The trained module.
            metric: Name of the first validation metric.
        """
        texts = {"collapses": "; ".join(self.collapses), "fault": self.fault}
        return {
            metric: self.best_value,
            "best_step": self.best_step,
            "steps": self.steps,
            "train_seconds": round(self.seconds, 3),
            "restarts": len(self.collapses),
            "skipped_steps": self.skipped,
            "parameters": sum(p.numel() for p in module.parameters()),
            **{name: text for name, text in texts.items() if text},
        }


def write_outcome(folder: Path, summary: Mapping[str, float | str]) -> None:
    """Write the numbers of a training into the folder of its model, without its duration, which differs every time."""
    kept = {name: value for name, value in summary.items() if name != "train_seconds"}
    (folder / FILE).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_outcome(folder: Path) -> dict[str, Any]:
    """Return the numbers of the training of a model; empty for an unrecorded training.

    Raises:
        IntegrityError: The record is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error}); train the model again.") from error


def fault_of(folder: Path, *, of: Literal["fault", "autoencoder_fault"] = "fault") -> str:
    """Return why the training of a model was not completed; empty for a completed or an unrecorded training.

    Args:
        folder: Folder of the model.
        of: The training of the model, or that of the autoencoder of its latents.

    Raises:
        IntegrityError: The record is damaged.
    """
    return str(read_outcome(folder).get(of, ""))
