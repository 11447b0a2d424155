"""All of params.yaml: reading it, and messages that say what is wrong with it."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.params.base import Group, NonNegative
from hsipipe.params.data import DatasetParams, DegradationParams, PatchesParams, SplitParams
from hsipipe.params.operations import GateParams, InboxParams
from hsipipe.params.training import HardwareParams
from hsipipe.params.use import RegistryParams, SamplingParams, StepsParams
from hsipipe.restoration import TASKS

G = TypeVar("G", bound=Group)
Tree = dict[str, Any]


class Params(Group):
    """Everything that params.yaml says."""

    compare: Annotated[list[str], Field(min_length=1)]
    """Methods in the order of the table's rows; gains are measured from the first."""
    seeds: list[NonNegative]
    """Further seeds that every trained method of `compare` is trained with; the table then shows mean and deviation."""
    steps: StepsParams
    dataset: DatasetParams
    split: SplitParams
    degradation: DegradationParams
    patches: PatchesParams
    gae: dict[str, Tree]
    """Settings of the group autoencoders; see :class:`hsipipe.params.GaeParams`."""
    methods: dict[str, Tree]
    """Settings of the methods; each has a class `Settings` in its file in hsipipe/methods."""
    sampling: SamplingParams
    registry: RegistryParams
    inbox: InboxParams
    gate: GateParams
    hardware: HardwareParams
    protocol: str
    """A name of `hsipipe.protocols`."""

    @model_validator(mode="after")
    def _rows_can_be_told_apart(self) -> "Params":
        lists: dict[str, Sequence[object]] = {"compare": self.compare, "seeds": self.seeds, "steps": self.steps.values}
        for key, names in lists.items():
            twice = sorted({str(name) for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{key} lists {', '.join(twice)} more than once")
        absent = [name for name in self.steps.methods if name not in self.compare]
        if absent:
            raise ValueError(f"steps.methods lists {', '.join(absent)}, which compare does not")
        return self

    @model_validator(mode="after")
    def _truth_stays_out_of_the_input(self) -> "Params":
        if self.degradation.normalisation == "region_minmax" and self.protocol != "dmgasr":
            raise ValueError(
                "degradation.normalisation region_minmax scales each test region by its own ground truth, which is "
                f"unknown in use; it is for protocol dmgasr alone, not for {self.protocol}: set it to fixed"
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
    def _patches_fit_the_scale(self) -> "Params":
        for field in ("size", "stride"):
            value = getattr(self.patches, field)
            if value % self.degradation.scale:
                raise ValueError(
                    f"patches.{field} ({value}) must be a multiple of degradation.scale ({self.degradation.scale})"
                )
        return self


def load_params(path: Path) -> Params:
    """Read and check params.yaml; the settings of methods are checked by :func:`parse_group`.

    Raises:
        MissingInputError: There is no such file.
        ParamsError: It is no YAML, or a key is unknown, missing or does not fit; one line a problem.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"No {path.name} in {path.parent}; run this in the project's folder.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date of month 13, or deep nesting
        raise ParamsError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    return parse_params(tree, source=path.name)


def parse_params(tree: Any, *, source: str = "params") -> Params:
    """Check a tree of plain values against :class:`Params`.

    Raises:
        ParamsError: See :func:`load_params`.
    """
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{source} must hold groups of keys, got {type(tree).__name__}.")
    return parse_group(Params, tree, source=source)


def parse_group(group: type[G], tree: Mapping[str, Any], *, source: str, prefix: str = "") -> G:
    """Check a tree of plain values against a group, with one line a problem.

    Args:
        group: Its class.
        tree: The values.
        source: Name of the file in messages.
        prefix: Where the group stands in the file, such as ``methods.edsr.``.

    Raises:
        ParamsError: A key is unknown, missing or does not fit.
    """
    try:
        return group.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_explain(dict(entry), group, prefix) for entry in error.errors(include_url=False))
        raise ParamsError(f"{source}: {problems}.") from error


def inherited(entries: Mapping[str, Tree], name: str, like: str) -> Tree:
    """The settings of an entry: those of the entry that it is like, with its own in their place.

    Args:
        entries: A group such as ``methods``.
        name: The entry.
        like: The entry that it starts from; itself for most.

    Raises:
        ParamsError: The group has no such entry.
    """
    for key in (like, name):
        if key not in entries:
            raise ParamsError(f"params.yaml has no settings for {key!r}; known: {', '.join(sorted(entries))}.")
    return _merged(entries[like], entries[name])


def _merged(below: Tree, above: Tree) -> Tree:
    nested = {
        key: _merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **nested}


def _explain(entry: dict[str, Any], group: type[BaseModel], prefix: str) -> str:
    where = prefix + ".".join(str(part) for part in entry["loc"]) or "(whole file)"
    if entry["type"] == "extra_forbidden":
        siblings = _siblings(group, entry["loc"])
        close = get_close_matches(str(entry["loc"][-1]), siblings, n=1)
        hint = f", did you mean {close[0]!r}?" if close else f"; known here: {', '.join(siblings)}"
        return f"unknown key {where!r}{hint}"
    if entry["type"] == "missing":
        return f"missing key {where!r}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] == "value_error":
        return f"{where.rstrip('.')}: {message}"
    return f"{where}: {message}, got {entry['input']!r}"


def _siblings(group: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    model = group
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return sorted(model.model_fields)
