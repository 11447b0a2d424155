"""What stands in the table: each row makes a prediction of a scene, and only ceilings are shown the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.inference.scene import predict_scene, predict_scene_with_spread
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.pca_ceiling import PcaCeiling
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.methods.super_resolver import SpreadResolver, SuperResolver
from hsipipe.params import SamplingParams

Prediction = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Observation:
    """What a sensor sees of a scene, and all that a model is given: there is no truth in it.

    Attributes:
        name: The scene.
        lr: LR-HSI (C, h, w) float32.
        msi: HR-MSI (c, H, W) float32, for fusion, or None.
        wavelength_nm: Centre of each band (C,), where known.
    """

    name: str
    lr: NDArray[np.float32]
    msi: NDArray[np.float32] | None
    wavelength_nm: NDArray[np.float64] | None

    @classmethod
    def of(cls, pair: Pair) -> "Observation":
        """The pair without its truth."""
        return cls(pair.name, pair.lr, pair.msi, pair.wavelength_nm)


@dataclass(frozen=True)
class Row:
    """A super-resolver in the table.

    Attributes:
        name: Key in metrics.json.
        kind: The baseline needs no training, and gains are over it; a control is trained to judge a model by.
        predict: HR prediction (C, H, W) of an observation.
        nfe: Network evaluations per image.
        samples: Samples K whose mean is the prediction.
        spread: The prediction and the standard deviation of the samples, each (C, H, W); None where there is but one.
    """

    name: str
    kind: Literal["baseline", "control", "model"]
    predict: Callable[[Observation], Prediction]
    nfe: int
    samples: int = 1
    spread: Callable[[Observation], tuple[Prediction, Prediction]] | None = None


@dataclass(frozen=True)
class CeilingRow:
    """A bound in the table: it sees the truth, so it is never a result.

    Attributes:
        name: Key in metrics.json.
        reconstruct: The truth through a representation and back, (C, H, W).
    """

    name: str
    reconstruct: Callable[[Pair], Prediction]
    kind: Literal["ceiling"] = "ceiling"
    nfe: int = 0


AnyRow = Row | CeilingRow


def apply(row: AnyRow, pair: Pair) -> Prediction:
    """What the row makes of a scene; a :class:`Row` gets the observation alone."""
    return row.reconstruct(pair) if isinstance(row, CeilingRow) else row.predict(Observation.of(pair))


def baseline_row(scale: int) -> Row:
    """Bicubic interpolation of the whole scene; at scale 1 that is the input as it is, and called so."""
    model = Bicubic(scale)
    return Row(model.name, "baseline", lambda seen: model.predict(seen.lr[None])[0], model.nfe)


def apply_with_spread(row: AnyRow, pair: Pair) -> tuple[Prediction, Prediction | None]:
    """As :func:`apply`, with the standard deviation of the samples of a row that takes several."""
    if isinstance(row, CeilingRow) or row.spread is None:
        return apply(row, pair), None
    return row.spread(Observation.of(pair))


def model_row(model: SuperResolver, kind: Literal["baseline", "control", "model"], *, tile: int, overlap: int) -> Row:
    """A trained super-resolver on whole scenes, tile by tile (sizes in LR pixels)."""
    fuses = model.msi_bands != 0

    def predict(seen: Observation) -> Prediction:
        return predict_scene(model, seen.lr, tile=tile, overlap=overlap, msi=seen.msi if fuses else None)

    row = Row(model.name, kind, predict, model.nfe)
    if not isinstance(model, SpreadResolver) or model.samples == 1:
        return row
    sampler = model

    def spread(seen: Observation) -> tuple[Prediction, Prediction]:
        msi = seen.msi if fuses else None
        return predict_scene_with_spread(sampler, seen.lr, tile=tile, overlap=overlap, msi=msi)

    return replace(row, samples=sampler.samples, spread=spread)


def pca_row(pairs: DegradedPairs, k: int) -> CeilingRow:
    """The ceiling of k principal components, fitted on the training scenes; named after how many there are.

    Groups that overlap can hold more latent channels than there are bands: k is then the number of bands.
    """
    ceiling = PcaCeiling.fit_training(pairs, k)
    return CeilingRow(f"pca-{ceiling.k}-ceiling", lambda pair: ceiling.reconstruct(pair.hr))


def single_image_rows(
    pairs: DegradedPairs, trained: Mapping[str, Dmgasr | PcaResidual], *, sampling: SamplingParams
) -> list[AnyRow]:
    """The baseline, the ceilings, the two controls (the same network in one step, and pca-residual), and DMGASR.

    Args:
        pairs: For the principal components of the training scenes.
        trained: Role to model, see :func:`hsipipe.methods.trained.single_image_models`.
        sampling: Tiles of whole scenes.
    """
    model = cast(Dmgasr, trained["model"])
    latent_channels = model.gae.latent_mean.numel()
    tiles = {"tile": sampling.tile, "overlap": sampling.overlap}
    return [
        baseline_row(model.scale),
        pca_row(pairs, latent_channels),
        CeilingRow("ae-ceiling", lambda pair: model.reconstruct(pair.hr)),
        CeilingRow("latent-ceiling", lambda pair: model.ceiling(pair.lr, pair.hr)),
        *(model_row(trained[role], "control", **tiles) for role in ("regression", "control")),
        model_row(model, "model", **tiles),
    ]
