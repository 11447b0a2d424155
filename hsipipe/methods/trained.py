"""The trained models of a pipeline run by their role: model, the same network as a regression, plain control."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hsipipe.artifacts import (
    ControlCheckpoint,
    DiffusionCheckpoint,
    FusionCheckpoint,
    FusionControlCheckpoint,
    FusionRegressionCheckpoint,
    GaeCheckpoint,
    RegressionCheckpoint,
)
from hsipipe.errors import IntegrityError
from hsipipe.methods.catalogue import load_model
from hsipipe.methods.dmgasr.method import Dmgasr
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import FusionParams, SamplingParams

ROLES = ("model", "regression", "control")


@dataclass(frozen=True)
class Checkpoints:
    """What the training stages have published; those of the models that were not asked for hold nothing."""

    gae: GaeCheckpoint
    diffusion: DiffusionCheckpoint
    regression: RegressionCheckpoint
    control: ControlCheckpoint
    fusion: FusionCheckpoint
    fusion_regression: FusionRegressionCheckpoint
    fusion_control: FusionControlCheckpoint


def load_trained(
    checkpoints: Checkpoints,
    *,
    fuses: bool,
    sampling: SamplingParams,
    fusion: FusionParams,
    device: torch.device | str = "cpu",
) -> Mapping[str, Dmgasr | PcaResidual] | Mapping[str, FusionModel]:
    """The three models of the kind that was asked for, by their role.

    Args:
        checkpoints: Of all training stages.
        fuses: Whether it was a model of an image pair.
        sampling: How they predict.
        fusion: How those of an image pair do.
        device: Where they run.

    Raises:
        MissingInputError: A checkpoint is missing.
        IntegrityError: A checkpoint is corrupt.
    """
    c = checkpoints
    if fuses:
        pair = (c.fusion, c.fusion_regression, c.fusion_control)
        return fusion_models(*pair, sampling=sampling, fusion=fusion, device=device)
    return single_image_models(c.gae, c.diffusion, c.regression, c.control, sampling=sampling, device=device)


def single_image_models(
    gae: GaeCheckpoint,
    diffusion: DiffusionCheckpoint,
    regression: RegressionCheckpoint,
    control: ControlCheckpoint,
    *,
    sampling: SamplingParams,
    device: torch.device | str = "cpu",
) -> Mapping[str, Dmgasr | PcaResidual]:
    """DMGASR, its regression, and pca-residual, as they predict with this sampling.

    Raises:
        MissingInputError: A checkpoint is missing.
        IntegrityError: A checkpoint is corrupt.
    """
    return {
        "model": Dmgasr.from_checkpoints(gae, diffusion, sampling=sampling, device=device),
        "regression": Dmgasr.from_checkpoints(gae, regression, sampling=sampling, device=device),
        "control": PcaResidual.from_checkpoint(control, consistency=sampling.consistency, device=device),
    }


def fusion_models(
    model: FusionCheckpoint,
    regression: FusionRegressionCheckpoint,
    control: FusionControlCheckpoint,
    *,
    sampling: SamplingParams,
    fusion: FusionParams,
    device: torch.device | str = "cpu",
) -> Mapping[str, FusionModel]:
    """A fusion model, its regression, and residual-fusion, as they predict with this sampling.

    Raises:
        MissingInputError: A checkpoint is missing.
        IntegrityError: A checkpoint is corrupt.
    """
    loaded = {}
    for role, checkpoint in zip(ROLES, (model, regression, control), strict=True):
        one = load_model(checkpoint.path, device=str(device))
        if not isinstance(one, FusionModel):
            raise IntegrityError(f"{checkpoint.path} holds {one.name}, which fuses nothing; train it again.")
        steps = fusion.steps_of(one.KIND) if role != "control" else 1
        own = sampling.model_copy(update={"steps": steps})
        loaded[role] = one.with_sampling(own).with_sensors(response=fusion.response)
    return loaded
