"""Named experimental protocols: everything that two results must share before they may be compared.

A protocol's name picks the conventions (:mod:`hsipipe.protocols.published`); the data set and degradation come from
params.yaml, and the scenes that train, choose and test from the pairs themselves. All of it is hashed. Where
the files lie does not enter the hash, nor how the scenes were drawn: what they are does.

The published protocols fix parameters, too: params.yaml must hold their values, and what differs is an error.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError, ParamsError
from hsipipe.params import DatasetParams, DegradationParams, SplitParams
from hsipipe.protocols.metrics import hashed_definitions
from hsipipe.protocols.published import Conventions, Setup
from hsipipe.registry import Registry
from hsipipe.restoration import SUPER_RESOLUTION, TASKS, Task

HASH_LENGTH = 16

PROTOCOLS: Registry[Conventions] = Registry(
    "protocol",
    {
        "default": "hsipipe.protocols.published:DEFAULT",
        "sspsr": "hsipipe.protocols.published:SSPSR",
        "mcnet": "hsipipe.protocols.published:MCNET",
        "dmgasr": "hsipipe.protocols.published:DMGASR",
        "cave-fusion-x32": "hsipipe.protocols.published:CAVE_FUSION_X32",
        "hisr-x4": "hsipipe.protocols.published:HISR_X4",
        "hsrdiff-x4": "hsipipe.protocols.published:HSRDIFF_X4",
    },
)


@dataclass(frozen=True)
class Protocol:
    """One experiment's fixed frame.

    Attributes:
        name: A name of :data:`PROTOCOLS`.
        scale: Ratio of the pixel sizes, s.
        dataset: Name; for `synthetic` what the scenes are made from, for `folder` how the files are read, and
            digests of them.
        plan: The regions of "train", "val" and "test", sorted, as ``balloons@0:512x0:512`` (rows, columns
            in HR pixels). A model trained on other scenes is another experiment, too.
        split: Settings that the plan was drawn with: recorded, not hashed, since only the plan affects the result.
        degradation: Simulation of LR-HSI and HR-MSI (without the scale, and without the task super-resolution).
        conventions: Rules of the protocol for simulation and scores.
    """

    name: str
    scale: int
    dataset: Mapping[str, Any]
    plan: Mapping[str, Sequence[str]]
    split: Mapping[str, Any]
    degradation: Mapping[str, Any]
    conventions: Conventions

    def fields(self) -> dict[str, Any]:
        """Everything that is hashed, flat: ``{"scale": 4, "plan.test": [...], ...}``."""
        conventions = self.conventions
        tree = {
            "name": self.name,
            "scale": self.scale,
            "dataset": self.dataset,
            "plan": {part: list(regions) for part, regions in self.plan.items()},
            "degradation": self.degradation,
            "antialiasing": conventions.antialiasing,
            "boundary": conventions.boundary,
            "headline": conventions.headline,
            "prediction_range": list(conventions.prediction_range),
            "averaging": conventions.averaging,
            "ergas_ratio": self.ergas_ratio,
            "metrics": hashed_definitions() | dict(self.task.metrics),
        }
        return dict(_flatten(tree))

    @property
    def ergas_ratio(self) -> int:
        """The s of the factor 100/s in front of ERGAS."""
        return self.conventions.ergas_ratio or self.scale

    @property
    def task(self) -> Task:
        """Task: the degradation that is undone."""
        return TASKS[self.degradation.get("task", SUPER_RESOLUTION)]

    @property
    def psf(self) -> Psf:
        """Of the LR sensor."""
        return Psf(**self.degradation["psf"])

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the sha256 of the canonical JSON of :meth:`fields`."""
        canonical = json.dumps(self.fields(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]

    def as_json(self) -> dict[str, Any]:
        """The entry of metrics.json: name, hash, and title, fields and split as pairs.

        Pairs rather than keys, since `dvc metrics` shows every key of a metrics file as a metric.
        """
        return {
            "name": self.name,
            "hash": self.hash,
            "fields": [
                ["title", self.conventions.title],
                *([key, value] for key, value in self.fields().items()),
                *([key, value] for key, value in _flatten({"split": self.split})),
            ],
        }


def protocol_of(params: Any, index: Mapping[str, Any]) -> Protocol:
    """The protocol of params.yaml on its pairs.

    Args:
        params: The groups protocol, dataset, split and degradation of params.yaml.
        index: The content of pairs.json.

    Raises:
        UnknownNameError: No protocol has this name; the message lists them.
        ParamsError: See :func:`check_pins`.
    """
    return make_protocol(
        params.protocol,
        dataset=params.dataset,
        split=params.split,
        degradation=params.degradation,
        plan=index["splits"],
        srf=index["srf"],
    )


def make_protocol(
    name: str,
    *,
    dataset: DatasetParams,
    split: SplitParams,
    degradation: DegradationParams,
    plan: Mapping[str, Sequence[Mapping[str, Any]]],
    srf: str | None,
) -> Protocol:
    """The protocol called `name` on this data.

    Args:
        name: A name of :data:`PROTOCOLS`.
        dataset: Where the scenes come from.
        split: Settings of the split.
        degradation: Settings of the simulation.
        plan: The resulting split, the ``splits`` of pairs.json: part to
            ``{"name": region, "scene": scene, "region": [y0, y1, x0, x1]}``, and of `folder` ``"sha256"``.
        srf: Identity of the spectral response, the ``srf`` of pairs.json: a name, or the digest of a table.

    Raises:
        UnknownNameError: No protocol has this name; the message lists them.
        ParamsError: See :func:`check_pins`.
    """
    check_pins(name, dataset=dataset, split=split, degradation=degradation)
    what: dict[str, Any] = {"name": dataset.name}
    if dataset.name == "synthetic":
        what["synthetic"] = dataset.synthetic.model_dump(mode="json")
    if dataset.name == "folder":
        # Its name says nothing about the files behind it.
        digests = {entry["scene"]: entry["sha256"] for entries in plan.values() for entry in entries}
        what |= {"folder": dataset.folder.model_dump(mode="json"), "sha256": digests}
    return Protocol(
        name=name,
        scale=degradation.scale,
        dataset=what,
        plan={
            part: sorted(_region(entry["scene"], entry["region"]) for entry in entries)
            for part, entries in plan.items()
        },
        split=split.model_dump(mode="json"),
        degradation=_what_happens(degradation) | {"srf": srf},
        conventions=PROTOCOLS[name],
    )


def check_pins(name: str, *, dataset: DatasetParams, split: SplitParams, degradation: DegradationParams) -> None:
    """Check that the parameters are those that the protocol fixes.

    Raises:
        UnknownNameError: No protocol has this name; the message lists them.
        ParamsError: The protocol is not defined on this data set or scale, or a value differs (each is named).
    """
    if not PROTOCOLS[name].setups:
        return
    setup = setup_of(name, dataset.name)
    if degradation.scale not in setup.scales:
        raise ParamsError(
            f"Protocol {name!r} on {dataset.name!r} has the scales {', '.join(map(str, setup.scales))}, got "
            f"degradation.scale {degradation.scale}."
        )
    values = dict(_flatten({"split": split.model_dump(), "degradation": degradation.model_dump()}))
    wrong = [
        f"{key} is {_shown(values[key])}, expected {_shown(pin)}"
        for key, pin in setup.pins_at(degradation.scale).items()
        if values[key] != pin
    ]
    if wrong:
        raise ParamsError(
            f"Protocol {name!r} fixes these values on {dataset.name!r}: {'; '.join(wrong)}. Set them all with "
            f"hsipipe pipeline $(hsipipe protocol {name} --dataset {dataset.name} --scale {degradation.scale})."
        )


def setup_of(name: str, dataset: str) -> Setup:
    """Return the settings that a published protocol fixes on a data set.

    Raises:
        UnknownNameError: No protocol has this name; the message lists them.
        ParamsError: It is not defined on this data set.
    """
    setups = PROTOCOLS[name].setups
    if dataset not in setups:
        known = f"it is defined on {', '.join(sorted(setups))}" if setups else "it fixes nothing on any"
        raise ParamsError(f"Protocol {name!r} has no setup for the dataset {dataset!r}; {known}.")
    return setups[dataset]


def require_same(a: Protocol | Mapping[str, Any], b: Protocol | Mapping[str, Any]) -> None:
    """Refuse to compare results of two protocols.

    Args:
        a: A protocol, or the ``protocol`` entry of a metrics.json.
        b: The other one.

    Raises:
        DataError: The hashes differ; the message names each field that does.
    """
    left, right = (x.as_json() if isinstance(x, Protocol) else x for x in (a, b))
    if left["hash"] == right["hash"]:
        return
    mine, other = dict(left.get("fields", [])), dict(right.get("fields", []))
    differing = [key for key in sorted({*mine, *other} - {"title"}) if mine.get(key) != other.get(key)]
    detail = "; ".join(f"{key}: {_against(mine.get(key), other.get(key))}" for key in differing)
    raise DataError(
        f"These results follow different protocols ({left['name']} {left['hash']}, {right['name']} "
        f"{right['hash']}) and cannot be compared. {detail or 'Their fields were not recorded'}. "
        "Evaluate both with the same protocol, split and degradation."
    )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat += _flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def _what_happens(degradation: DegradationParams) -> dict[str, Any]:
    """The degradation without what stands for itself (the scale), shows in the plan (the crop), or draws nothing."""
    unsaid = {"scale", "crop_remainder"}
    if degradation.snr_db.lr is None and degradation.snr_db.msi is None:
        unsaid.add("seed")
    if degradation.task == SUPER_RESOLUTION:
        unsaid.add("task")  # hashes of super-resolution are older than the other tasks
    return degradation.model_dump(mode="json", exclude=unsaid)


def _shown(value: Any) -> str:
    return json.dumps(value)


def _region(name: str, region: Sequence[int]) -> str:
    y0, y1, x0, x1 = region
    return f"{name}@{y0}:{y1}x{x0}:{x1}"


def _against(mine: Any, other: Any) -> str:
    if isinstance(mine, list) and isinstance(other, list):
        # Long lists of scenes: only what the other one does not have.
        mine, other = ([entry for entry in a if entry not in b] for a, b in ((mine, other), (other, mine)))
    return f"{_text(mine)} against {_text(other)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value) or "(none)"
    return "(none)" if value is None else str(value)
