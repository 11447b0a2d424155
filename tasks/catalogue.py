"""The stages by name, in the order in which the pipeline runs them."""

from typing import Any

from hsipipe.artifacts import Artifact
from hsipipe.registry import Registry
from tasks.stage import Stage

NAMES = (
    "download",
    "degrade",
    "patches",
    "train_gae",
    "latents",
    "train_diffusion",
    "train_baseline",
    "train_control",
    "train_fusion",
    "train_fusion_baseline",
    "train_fusion_control",
    "evaluate",
    "report",
    "register",
)

STAGES: Registry[Stage[Any, Any]] = Registry("stage", {name: f"tasks.{name}:{name}" for name in NAMES})


def producer(kind: type[Artifact]) -> str:
    """Name of the stage that makes an artifact of this type."""
    return next(name for name in NAMES if STAGES[name].output is kind)
