"""Which of several trained networks is shipped: the one that validated best, never the one that tested best."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from hsipipe.errors import IntegrityError, MissingInputError

VALIDATION = "validation.json"
"""Beside the weights of a checkpoint: how they did on the validation split."""
_KEY = "mpsnr_db"


def write_validation(folder: Path, *, mpsnr_db: float) -> None:
    """Say in a checkpoint's folder what its weights reached on the validation patches.

    Args:
        folder: Of the checkpoint.
        mpsnr_db: MPSNR in dB without back-projection, of :func:`hsipipe.training.validation.mean_psnr_db`, sampled as
            the training validates, whatever `sampling` says.
    """
    (folder / VALIDATION).write_text(json.dumps({_KEY: mpsnr_db}) + "\n", encoding="utf-8")


def read_validation(folder: Path) -> float:
    """What :func:`write_validation` wrote.

    Raises:
        MissingInputError: The checkpoint says nothing of its validation.
        IntegrityError: The file is damaged.
    """
    path = folder / VALIDATION
    try:
        value = float(json.loads(path.read_text(encoding="utf-8"))[_KEY])
    except FileNotFoundError as error:
        raise MissingInputError(f"{folder} does not say how it validated: no {VALIDATION}; train it again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} does not hold a number {_KEY} ({error}); train it again.") from error
    if not math.isfinite(value):
        raise IntegrityError(f"{path} holds {value} dB, expected a finite number; train it again.")
    return value


def best_on_validation(candidates: Mapping[str, Path]) -> str:
    """Name of the checkpoint with the highest MPSNR on validation; of equal ones the first.

    Args:
        candidates: Name to folder, at least one.

    Raises:
        MissingInputError: See :func:`read_validation`.
        IntegrityError: See :func:`read_validation`.
    """
    values = {name: read_validation(folder) for name, folder in candidates.items()}
    return max(values, key=lambda name: values[name])
