"""Named experimental protocols: everything that two results must share before they may be compared.

A protocol's name picks the conventions (:class:`Conventions`); the data set and degradation come from
params.yaml, and the scenes that train, choose and test from the pairs themselves. All of it is hashed. Where
the files lie does not enter the hash, nor how the scenes were drawn: what they are does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hsipipe.errors import DataError
from hsipipe.params import DatasetParams, DegradationParams, SplitParams
from hsipipe.registry import Registry

HASH_LENGTH = 16

METRIC_DEFINITIONS: Mapping[str, str] = {
    "mpsnr_db": "PSNR of each band with peak 1, mean over bands (dB)",
    "cube_psnr_db": "PSNR of the whole cube with peak 1 (dB)",
    "mssim": "skimage structural_similarity of each band, its defaults, data_range 1, mean over bands",
    "sam_deg": "mean angle between spectra over pixels whose spectra are both non-zero (degrees)",
    "ergas": "100/s * sqrt(mean over bands of MSE_b / mean_b^2)",
    "cc": "Pearson correlation of each band, mean over the bands where the truth is not constant",
    "rmse": "root of the mean squared error of the whole cube",
    "consistency_psnr_db": "PSNR of the degraded prediction against the LR input (dB)",
}
"""The metrics of :mod:`hsipipe.evaluation.metrics` in one sentence each."""


@dataclass(frozen=True)
class Conventions:
    """What a protocol's name stands for, whatever the data set.

    Attributes:
        title: One line for people.
        psf: Point spread function of the LR sensor, with its boundary.
        antialiasing: Whether the kernel widens with the scale on the way down.
        normalisation: What raw values are divided by.
        prediction_range: What predictions are clipped to before they are scored.
        averaging: How the numbers of scenes become one.
        ergas_ratio: The factor in front of ERGAS.
        metrics: Definition of every metric.
    """

    title: str
    psf: str
    antialiasing: bool
    normalisation: str
    prediction_range: tuple[float, float]
    averaging: str
    ergas_ratio: str
    metrics: Mapping[str, str] = field(default_factory=lambda: METRIC_DEFINITIONS)


DEFAULT = Conventions(
    title="this project's own: whole test scenes, one fixed scale per data set",
    psf="bicubic, a = -0.5, symmetric boundary (equal to MATLAB's imresize)",
    antialiasing=True,
    normalisation="fixed per data set: the sensor's full range is 1",
    prediction_range=(0.0, 1.0),
    averaging="each metric on whole test scenes, then the mean over scenes",
    ergas_ratio="100/s",
)

PROTOCOLS: Registry[Conventions] = Registry("protocol", {"default": "hsipipe.protocols:DEFAULT"})


@dataclass(frozen=True)
class Protocol:
    """One experiment's fixed frame.

    Attributes:
        name: A name of :data:`PROTOCOLS`.
        scale: Ratio of the pixel sizes, s.
        dataset: Name and, for `synthetic`, what the scenes are made from.
        plan: The regions of "train", "val" and "test", sorted, as ``"balloons[0:512,0:512]"`` (rows, columns
            in HR pixels). A model trained on other scenes is another experiment, too.
        split: How the plan was drawn: recorded, not hashed, since another way to the same plan changes nothing.
        degradation: How LR-HSI and HR-MSI were made (without the scale).
        conventions: What the name stands for.
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
            "psf": conventions.psf,
            "antialiasing": conventions.antialiasing,
            "normalisation": conventions.normalisation,
            "prediction_range": list(conventions.prediction_range),
            "averaging": conventions.averaging,
            "ergas_ratio": conventions.ergas_ratio,
            "metrics": conventions.metrics,
        }
        return dict(_flatten(tree))

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


def make_protocol(
    name: str,
    *,
    dataset: DatasetParams,
    split: SplitParams,
    degradation: DegradationParams,
    plan: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Protocol:
    """The protocol called `name` on this data.

    Args:
        name: A name of :data:`PROTOCOLS`.
        dataset: Where the scenes come from.
        split: How they were divided.
        degradation: How the pairs were made.
        plan: How they came to be divided, the ``splits`` of pairs.json: part to
            ``{"name": scene, "region": [y0, y1, x0, x1]}``.

    Raises:
        UnknownNameError: No protocol has this name; the message lists them.
    """
    what: dict[str, Any] = {"name": dataset.name}
    if dataset.name == "synthetic":
        what["synthetic"] = dataset.synthetic.model_dump(mode="json")
    return Protocol(
        name=name,
        scale=degradation.scale,
        dataset=what,
        plan={
            part: sorted(_region(entry["name"], entry["region"]) for entry in entries) for part, entries in plan.items()
        },
        split=split.model_dump(mode="json"),
        degradation=degradation.model_dump(mode="json", exclude={"scale"}),
        conventions=PROTOCOLS[name],
    )


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


def _region(name: str, region: Sequence[int]) -> str:
    y0, y1, x0, x1 = region
    return f"{name}[{y0}:{y1},{x0}:{x1}]"


def _against(mine: Any, other: Any) -> str:
    if isinstance(mine, list) and isinstance(other, list):
        # Long lists of scenes: only what the other one does not have.
        mine, other = ([entry for entry in a if entry not in b] for a, b in ((mine, other), (other, mine)))
    return f"{_text(mine)} against {_text(other)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value) or "(none)"
    return "(none)" if value is None else str(value)
