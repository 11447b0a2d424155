"""The stages of both DVC files as text, for the contract tests."""

from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = ("dvc.yaml", "tasks/dvc.yaml")


@dataclass(frozen=True)
class Described:
    """A stage or a group of stages in a DVC file, with its placeholders as they are written."""

    name: str
    file: str
    cmd: str
    deps: frozenset[str]
    params: frozenset[str]
    outs: frozenset[str]


def described():
    """Every stage by the name that DVC gives it or its group."""
    found = {}
    for file in FILES:
        for name, entry in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"].items():
            stage = entry.get("do", entry)
            outs = stage.get("outs", []) + stage.get("metrics", [])
            parts = (frozenset(map(path, stage.get(key, []))) for key in ("deps", "params"))
            found[name] = Described(name, file, stage["cmd"], *parts, frozenset(map(path, outs)))
    return found


def path(entry):
    return next(iter(entry)) if isinstance(entry, dict) else entry
