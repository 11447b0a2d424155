"""What flows between the stages. Read this first.

    RawScenes -> DegradedPairs -> PatchStore -> GaeCheckpoint -> LatentStore
    LatentStore -> DiffusionCheckpoint, RegressionCheckpoint (a control)
    PatchStore -> ControlCheckpoint (the other control)
    PatchStore -> FusionCheckpoint, FusionRegressionCheckpoint, FusionControlCheckpoint (of an image pair)
    DegradedPairs + checkpoints -> Evaluation -> Report, RegisteredModel

The data read themselves: ``scenes.open(name)``, ``pairs.read("test", name)``, ``patches.open("train")``; stages make
them. An artifact is a folder of the project: a path, never arrays. It is published whole or not at all
(:mod:`hsipipe.storage.publish`) and carries a ``MANIFEST.json`` with the sha256 of every file in it.
What ``model.name`` does not need holds a note and nothing else.
The stages' type annotations name the edges of the graph; ``dvc.yaml`` names the same ones as paths.
"""

from dataclasses import dataclass
from typing import ClassVar

from hsipipe.artifacts.base import Artifact
from hsipipe.artifacts.pairs import DegradedPairs, Pair
from hsipipe.artifacts.patches import LatentStore, PatchStore
from hsipipe.artifacts.scenes import RawScenes

__all__ = [
    "Artifact",
    "ControlCheckpoint",
    "DegradedPairs",
    "DiffusionCheckpoint",
    "Evaluation",
    "FusionCheckpoint",
    "FusionControlCheckpoint",
    "FusionRegressionCheckpoint",
    "GaeCheckpoint",
    "LatentStore",
    "Pair",
    "PatchStore",
    "RawScenes",
    "RegisteredModel",
    "RegressionCheckpoint",
    "Report",
]


@dataclass(frozen=True)
class GaeCheckpoint(Artifact):
    """Weights of the group autoencoder and the whitening of its latents."""

    LOCATION: ClassVar[str] = "models/gae"


@dataclass(frozen=True)
class DiffusionCheckpoint(Artifact):
    """EMA weights of the latent diffusion network."""

    LOCATION: ClassVar[str] = "models/diffusion"


@dataclass(frozen=True)
class RegressionCheckpoint(Artifact):
    """EMA weights of a control: the same network trained as a one-step regression."""

    LOCATION: ClassVar[str] = "models/regression"


@dataclass(frozen=True)
class ControlCheckpoint(Artifact):
    """EMA weights of the control pca-residual, a super-resolver by itself."""

    LOCATION: ClassVar[str] = "models/control"


@dataclass(frozen=True)
class FusionCheckpoint(Artifact):
    """EMA weights of the diffusion that fuses LR-HSI and HR-MSI, a super-resolver by itself."""

    LOCATION: ClassVar[str] = "models/fusion"


@dataclass(frozen=True)
class FusionRegressionCheckpoint(Artifact):
    """EMA weights of a control of the fusion: the same network trained as a one-step regression."""

    LOCATION: ClassVar[str] = "models/fusion_regression"


@dataclass(frozen=True)
class FusionControlCheckpoint(Artifact):
    """EMA weights of the other control of the fusion, residual-fusion."""

    LOCATION: ClassVar[str] = "models/fusion_control"


@dataclass(frozen=True)
class Evaluation(Artifact):
    """Predictions and error maps of the test scenes; the numbers are in ``reports/metrics.json``."""

    LOCATION: ClassVar[str] = "reports/evaluation"


@dataclass(frozen=True)
class Report(Artifact):
    """``index.html`` and its figures."""

    LOCATION: ClassVar[str] = "reports/report"


@dataclass(frozen=True)
class RegisteredModel(Artifact):
    """The whole super-resolver as a folder (safetensors + JSON) and the registry's entry for it."""

    LOCATION: ClassVar[str] = "models/superresolver"
