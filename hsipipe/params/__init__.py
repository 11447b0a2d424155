"""The typed form of params.yaml: one class per group, every field explained, nothing unknown allowed.

The settings of a method are a class ``Settings`` in that method's file in hsipipe/methods.
"""

from hsipipe.params.autoencoder import GaeLossParams, GaeParams
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
from hsipipe.params.networks import CdformerParams, UnetParams
from hsipipe.params.operations import GateParams, InboxParams
from hsipipe.params.training import (
    HardwareParams,
    LossParams,
    OptimizerParams,
    PublishedLossParams,
    TrainingParams,
)
from hsipipe.params.tree import Params, inherited, load_params, parse_group, parse_params
from hsipipe.params.use import RegistryParams, SamplingParams, SharpParams, StepsParams

__all__ = [
    "CdformerParams",
    "CountOrAll",
    "DatasetParams",
    "DegradationParams",
    "FolderParams",
    "Fraction",
    "GaeLossParams",
    "GaeParams",
    "GateParams",
    "Group",
    "HardwareParams",
    "InboxParams",
    "LossParams",
    "NonNegative",
    "OptimizerParams",
    "Params",
    "PatchesParams",
    "Positive",
    "PsfParams",
    "PublishedLossParams",
    "RegionsParams",
    "RegistryParams",
    "Sampler",
    "SamplingParams",
    "SharpParams",
    "SnrParams",
    "SplitParams",
    "StepsParams",
    "SyntheticParams",
    "TrainingParams",
    "UnetParams",
    "inherited",
    "load_params",
    "parse_group",
    "parse_params",
]
