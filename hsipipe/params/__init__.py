"""The typed form of params.yaml: one class per group, every field explained, nothing unknown allowed."""

from hsipipe.params.base import CountOrAll, Fraction, Group, NonNegative, Positive, Sampler
from hsipipe.params.data import (
    DatasetParams,
    DegradationParams,
    FolderParams,
    PatchesParams,
    PsfParams,
    RegionsParams,
    SnrParams,
    SplitParams,
    SyntheticParams,
)
from hsipipe.params.fusion import (
    CdformerParams,
    DdpmfusParams,
    FusionDiffusionParams,
    FusionFastParams,
    FusionParams,
    FusionStepsParams,
    HsrdiffParams,
    ObservationLossParams,
    PhaseParams,
    ResidualFusionParams,
)
from hsipipe.params.operations import GateParams, InboxParams
from hsipipe.params.single import ControlParams, DiffusionParams, GaeLossParams, GaeParams, UnetParams
from hsipipe.params.training import DiffusionLossParams, HardwareParams, LossParams, OptimizerParams
from hsipipe.params.tree import Params, load_params, parse_params
from hsipipe.params.use import ModelParams, RegistryParams, SamplingParams

__all__ = [
    "CdformerParams",
    "ControlParams",
    "CountOrAll",
    "DatasetParams",
    "DdpmfusParams",
    "DegradationParams",
    "DiffusionLossParams",
    "DiffusionParams",
    "FolderParams",
    "Fraction",
    "FusionDiffusionParams",
    "FusionFastParams",
    "FusionParams",
    "FusionStepsParams",
    "GaeLossParams",
    "GaeParams",
    "GateParams",
    "Group",
    "HardwareParams",
    "HsrdiffParams",
    "InboxParams",
    "LossParams",
    "ModelParams",
    "NonNegative",
    "ObservationLossParams",
    "OptimizerParams",
    "Params",
    "PatchesParams",
    "PhaseParams",
    "Positive",
    "PsfParams",
    "RegionsParams",
    "RegistryParams",
    "ResidualFusionParams",
    "Sampler",
    "SamplingParams",
    "SnrParams",
    "SplitParams",
    "SyntheticParams",
    "UnetParams",
    "load_params",
    "parse_params",
]
