"""Weights as safetensors, everything else as JSON; no pickle anywhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hsipipe.errors import IntegrityError, MissingInputError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_checkpoint(folder: Path, *, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write weights and configuration into the existing `folder`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(plain, folder / WEIGHTS)
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a checkpoint.

    Raises:
        MissingInputError: The folder holds no checkpoint.
        IntegrityError: The file is not JSON.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise MissingInputError(f"{folder} holds no model: {CONFIG} is missing.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path} is not JSON ({error}); make the model again.") from error
    if not isinstance(config, dict):
        raise IntegrityError(f"{path} must hold a JSON object, got {type(config).__name__}.")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, on the CPU.

    Raises:
        MissingInputError: There is no weights file.
        IntegrityError: The file is truncated or not safetensors.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise MissingInputError(f"{folder} holds no weights: {WEIGHTS} is missing.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise IntegrityError(f"{path} is truncated or corrupt ({error}); make the model again.") from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Put `weights` into `module`.

    Raises:
        IntegrityError: Names or shapes differ from what the configuration promises.
    """
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        first = str(error).splitlines()
        raise IntegrityError(f"The weights in {source} do not fit their {CONFIG}: {' '.join(first[:2])}") from error
