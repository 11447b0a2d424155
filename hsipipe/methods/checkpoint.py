"""Weights as safetensors, everything else as JSON; no pickle anywhere."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.json_text import parse_json
from hsipipe.storage.manifest import MANIFEST, verify

WEIGHTS = "model.safetensors"
CONFIG = "config.json"

M = TypeVar("M", bound=nn.Module)


def save_checkpoint(folder: Path, *, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write weights and configuration into the existing `folder`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(plain, folder / WEIGHTS)
    save_config(folder, config)


def save_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write the configuration of a method into the existing `folder`; a method without training has no other file."""
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a checkpoint.

    Raises:
        MissingInputError: The folder holds no checkpoint.
        IntegrityError: The file is not JSON.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise MissingInputError(f"{folder} holds no model: {CONFIG} is missing.")
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path} is not JSON ({error}); make the model again.") from error
    if not isinstance(config, dict):
        raise IntegrityError(f"{path} must hold a JSON object, got {type(config).__name__}.")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint, on the CPU.

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


def load_module(folder: Path, build: Callable[[dict[str, Any]], M]) -> M:
    """Build a module from the configuration in `folder`, load its weights, and freeze it.

    Raises:
        MissingInputError: The folder holds no checkpoint.
        IntegrityError: A file differs from the folder's manifest, or configuration or weights do not fit the module.
    """
    if (folder / MANIFEST).is_file():
        verify(folder)
    config, weights = read_config(folder), read_weights(folder)
    try:
        module = build(config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise IntegrityError(f"{folder / CONFIG} does not describe this model ({reason}); make it again.") from error
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[:2])
        raise IntegrityError(f"The weights in {folder} do not fit their {CONFIG}: {first}") from error
    return module.eval().requires_grad_(False)
