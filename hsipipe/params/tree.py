"""All of params.yaml: reading it, and messages that say what is wrong with it."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.params.base import Group
from hsipipe.params.data import DatasetParams, DegradationParams, PatchesParams, SplitParams
from hsipipe.params.fusion import DdpmfusParams, FusionFastParams, FusionParams, HsrdiffParams, ResidualFusionParams
from hsipipe.params.operations import GateParams, InboxParams
from hsipipe.params.single import ControlParams, DiffusionParams, GaeParams
from hsipipe.params.training import HardwareParams
from hsipipe.params.use import ModelParams, RegistryParams, SamplingParams
from hsipipe.restoration import SUPER_RESOLUTION, TASKS


class Params(Group):
    """Everything that params.yaml says."""

    model: ModelParams
    dataset: DatasetParams
    split: SplitParams
    degradation: DegradationParams
    patches: PatchesParams
    gae: GaeParams
    diffusion: DiffusionParams
    control: ControlParams
    fusion: FusionParams
    fusion_fast: FusionFastParams
    ddpmfus: DdpmfusParams
    hsrdiff: HsrdiffParams
    residual_fusion: ResidualFusionParams
    sampling: SamplingParams
    registry: RegistryParams
    inbox: InboxParams
    gate: GateParams
    hardware: HardwareParams
    protocol: str
    """A name of `hsipipe.protocols`."""

    @model_validator(mode="after")
    def _truth_stays_out_of_the_input(self) -> "Params":
        if self.degradation.normalisation == "region_minmax" and self.protocol != "dmgasr":
            raise ValueError(
                "degradation.normalisation region_minmax scales each test region by its own ground truth, which nobody "
                f"has in use; it is for protocol dmgasr alone, not for {self.protocol}: set it to fixed"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_not_put_back(self) -> "Params":
        task = self.degradation.task
        if self.sampling.consistency and not TASKS[task].back_projects:
            raise ValueError(
                f"sampling.consistency ({self.sampling.consistency}) must be 0 with degradation.task {task}: "
                "back-projection draws the prediction to the input, noise included"
            )
        return self

    @model_validator(mode="after")
    def _there_is_something_to_fuse(self) -> "Params":
        if not self.model.fuses:
            return self
        if self.degradation.srf is None:
            raise ValueError(
                f"model.name {self.model.name} fuses the LR-HSI with an HR-MSI, but degradation.srf is null: set it to "
                "a sensor, a table, or measured; or take model.name dmgasr"
            )
        if self.degradation.task != SUPER_RESOLUTION:
            raise ValueError(
                f"model.name {self.model.name} is for degradation.task super-resolution, got {self.degradation.task}; "
                "take model.name dmgasr"
            )
        return self

    @model_validator(mode="after")
    def _patches_fit_the_scale(self) -> "Params":
        for field in ("size", "stride"):
            value = getattr(self.patches, field)
            if value % self.degradation.scale:
                raise ValueError(
                    f"patches.{field} ({value}) must be a multiple of degradation.scale ({self.degradation.scale})"
                )
        return self


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        MissingInputError: There is no such file.
        ParamsError: It is no YAML, or a key is unknown, missing or does not fit; one line a problem.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"No {path.name} in {path.parent}; run this in the project's folder.") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    return parse_params(tree, source=path.name)


def parse_params(tree: Any, *, source: str = "params") -> Params:
    """Check a tree of plain values against :class:`Params`.

    Raises:
        ParamsError: See :func:`load_params`.
    """
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{source} must hold groups of keys, got {type(tree).__name__}.")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_explain(dict(entry)) for entry in error.errors(include_url=False))
        raise ParamsError(f"{source}: {problems}.") from error


def _explain(entry: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in entry["loc"]) or "(whole file)"
    if entry["type"] == "extra_forbidden":
        siblings = _fields_beside(entry["loc"])
        close = get_close_matches(str(entry["loc"][-1]), siblings, n=1)
        hint = f", did you mean {close[0]!r}?" if close else f"; known here: {', '.join(siblings)}"
        return f"unknown key {where!r}{hint}"
    if entry["type"] == "missing":
        return f"missing key {where!r}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: {message}, got {entry['input']!r}"


def _fields_beside(loc: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = Params
    for part in loc[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)
