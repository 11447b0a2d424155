"""Presets: named trees of values that replace values of params.yaml."""

from importlib.resources import files
from typing import Any

import yaml

from hsipipe.registry import unknown_name

_FOLDER = files("hsipipe.methods.presets")


def preset_names() -> list[str]:
    """Return the names that :func:`load_preset` accepts."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """Return the values of a preset as a tree in the form of params.yaml.

    Raises:
        UnknownNameError: There is no such preset; the message lists them.
    """
    names = preset_names()
    if name not in names:
        raise unknown_name("preset", name, names)
    tree: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return tree
