"""The artifacts that flow between the stages. Read this first.

    RawScenes -> DegradedPairs -> PatchStore -> GaeCheckpoint -> LatentStore
    PatchStore or LatentStore -> TrainedMethod, one for each method
    DegradedPairs + TrainedMethod -> Scores, one for each method
    Scores -> Comparison -> RegisteredModel -> Report

The data read themselves: ``scenes.open(name)``, ``pairs.read("test", name)``, ``patches.open("train")``; stages make
them. An artifact is a folder of the project: a path, never arrays. It is published whole or not at all
(:mod:`hsipipe.storage.publish`) and carries a ``MANIFEST.json`` with the sha256 of every file in it.
The stages' type annotations name the edges of the graph; ``dvc.yaml`` and ``tasks/dvc.yaml`` name the same ones as
paths.
"""

from dataclasses import dataclass
from typing import ClassVar

from hsipipe.artifacts.base import Artifact
from hsipipe.artifacts.pairs import DegradedPairs, Pair
from hsipipe.artifacts.patches import LatentStore, PatchStore
from hsipipe.artifacts.scenes import RawScenes

__all__ = [
    "Artifact",
    "Comparison",
    "DegradedPairs",
    "GaeCheckpoint",
    "LatentStore",
    "Pair",
    "PatchStore",
    "RawScenes",
    "RegisteredModel",
    "Report",
    "Scores",
    "TrainedMethod",
]


@dataclass(frozen=True)
class GaeCheckpoint(Artifact):
    """Weights of a group autoencoder and the whitening of its latents; the item is its name."""

    LOCATION: ClassVar[str] = "models/gae/{item}"


@dataclass(frozen=True)
class TrainedMethod(Artifact):
    """A super-resolver that can be loaded; the item is the method's name, with ``@seed-1`` for another seed."""

    LOCATION: ClassVar[str] = "models/{item}"


@dataclass(frozen=True)
class Scores(Artifact):
    """``scores.json`` of a method, and pictures and cube of each test scene for the report; the item is the row."""

    LOCATION: ClassVar[str] = "reports/scores/{item}"
    FILE: ClassVar[str] = "scores.json"


@dataclass(frozen=True)
class Comparison(Artifact):
    """The result table as Markdown, CSV and figure; the numbers are in ``reports/metrics.json``."""

    LOCATION: ClassVar[str] = "reports/comparison"


@dataclass(frozen=True)
class Report(Artifact):
    """``index.html`` and its figures."""

    LOCATION: ClassVar[str] = "reports/report"


@dataclass(frozen=True)
class RegisteredModel(Artifact):
    """The whole super-resolver as a folder (safetensors + JSON); a note if no compared method is trained.

    ``reports/registration.json`` is the registry's entry for it.
    """

    LOCATION: ClassVar[str] = "models/superresolver"
