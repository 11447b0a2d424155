"""What stands in the table of a fusion model: interpolation, methods that need no training, ceilings, controls, it."""

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import DegradedPairs, Pair
from hsipipe.degradation.psf import Psf
from hsipipe.evaluation.rows import (
    AnyRow,
    CeilingRow,
    Observation,
    Prediction,
    Row,
    baseline_row,
    model_row,
    pca_row,
    single_image_rows,
)
from hsipipe.methods.cnmf import Cnmf
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion_fast import FusionFast
from hsipipe.methods.gsa import Gsa
from hsipipe.methods.hysure import HySure
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.methods.sfim import Sfim
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.params import FusionParams, SamplingParams

UNTRAINED: tuple[Callable[..., SuperResolver], ...] = (Sfim, Gsa, Cnmf, HySure)
"""Fusion methods that need no training, of ``scale``, ``psf`` and ``response``."""


def rows_for(
    pairs: DegradedPairs,
    trained: Mapping[str, Dmgasr | PcaResidual] | Mapping[str, FusionModel],
    *,
    sampling: SamplingParams,
    fusion: FusionParams,
    psf: Psf,
    response: NDArray[np.float64] | None,
) -> list[AnyRow]:
    """The table of the model that was trained, of a single image or of a pair; see :func:`fusion_rows`."""
    if isinstance(trained["model"], FusionModel):
        pair = cast("Mapping[str, FusionModel]", trained)
        return fusion_rows(pairs, pair, sampling=sampling, fusion=fusion, psf=psf, response=response)
    return single_image_rows(pairs, cast("Mapping[str, Dmgasr | PcaResidual]", trained), sampling=sampling)


def fusion_rows(
    pairs: DegradedPairs,
    trained: Mapping[str, FusionModel],
    *,
    sampling: SamplingParams,
    fusion: FusionParams,
    psf: Psf,
    response: NDArray[np.float64] | None,
) -> list[AnyRow]:
    """All rows of an evaluation; every one that is no ceiling sees the observations alone.

    Args:
        pairs: For the principal components of the training scenes.
        trained: Role to model, see :func:`hsipipe.methods.trained.fusion_models`.
        sampling: Tiles of whole scenes.
        fusion: Whether the response is given.
        psf: Of the LR sensor.
        response: Spectral response (c, C) of the pairs, where known.
    """
    model = trained["model"]
    known = response if fusion.response == "given" else None
    tiles = {"tile": sampling.tile, "overlap": sampling.overlap}
    rows: list[AnyRow] = [baseline_row(model.scale)]
    rows += [untrained_row(make(scale=model.scale, psf=psf, response=known)) for make in UNTRAINED]
    if isinstance(model, FusionFast):
        rows += [pca_row(pairs, model.components), ceiling_row(model)]
    rows += [model_row(trained[role], "control", **tiles) for role in ("regression", "control")]
    return [*rows, model_row(model, "model", **tiles)]


def untrained_row(model: SuperResolver) -> Row:
    """A method that needs no training, on the whole scene at once."""

    def predict(seen: Observation) -> Prediction:
        msi = cast(NDArray[np.float32], seen.msi)
        prediction: Prediction = model.predict(seen.lr[None], msi=msi[None])[0]
        return prediction

    return Row(model.name, "baseline", predict, model.nfe)


def ceiling_row(model: FusionFast) -> CeilingRow:
    """What fusion-fast would give if the network were perfect."""

    def reconstruct(pair: Pair) -> Prediction:
        return model.ceiling(pair.lr, cast(NDArray[np.float32], pair.msi), pair.hr)

    return CeilingRow("subspace-ceiling", reconstruct)
