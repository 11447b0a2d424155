"""Texts for the MLflow UI, in Markdown: the description of a pipeline run, and the card of a model version."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsipipe.artifacts.registration import Registration
from hsipipe.evaluation.comparison import as_markdown
from hsipipe.evaluation.headline import headline
from hsipipe.evaluation.verdicts import REGRESSION, judge
from hsipipe.inference.known import domain_of
from hsipipe.methods.domain import span
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.protocols.metrics import METRICS
from hsipipe.restoration import SUPER_RESOLUTION, TASKS
from tasks.tracking.results import REPORT

LONGEST = 5000
"""Most characters of a description: PostgreSQL stores no more of a model version."""
_COLUMNS = tuple(metric for metric in METRICS if metric.terminal and not metric.of_samples)
_SHORTENED = "(shortened; the report has the rest)"


def run_description(metrics: Mapping[str, Any], entry: Registration | None) -> str:
    """Describe the results of a pipeline run: the answer, what was registered, the table and the verdicts.

    Args:
        metrics: The tree of metrics.json.
        entry: The registry's entry; None: the stage register has not run.
    """
    frame, count = dict(metrics["protocol"]["fields"]), len(metrics["scenes"])
    lines = [f"**{headline(metrics).text}**", ""]
    if entry is not None:
        lines += [_registered(entry), ""]
    lines += [
        f"Data set {frame['dataset.name']}, scale {frame['scale']}, {count} test scene{'' if count == 1 else 's'}. "
        f"{_protocol(metrics)}. The whole report is the artifact `{REPORT}/index.html`.",
        "",
        *_table(metrics),
        "",
        *_bullets(f"{'' if verdict.ok else '**!** '}{verdict.text}" for verdict in judge(metrics)),
    ]
    return _fitting(lines)


@dataclass(frozen=True)
class Card:
    """The card of a model: what it was trained on, how good it is, where it may fail, how to use it.

    Attributes:
        metrics: The tree of metrics.json.
        row: Row of the registered method.
        model: The method, loaded.
    """

    metrics: Mapping[str, Any]
    row: str
    model: SuperResolver

    def tags(self) -> dict[str, object]:
        """Return the tags of the version: scores, protocol, and the fault of the training."""
        scores = {key: self.metrics["models"][self.row][key] for key in ("mpsnr_db", "sam_deg")}
        protocol = {f"protocol.{key}": self.metrics["protocol"][key] for key in ("name", "hash")}
        fault = self.metrics.get("faults", {}).get(self.row)
        return {**scores, "model": self.row, **protocol, **({} if fault is None else {"fault": fault})}

    def text(self, uri: str) -> str:
        """Write the card of a version with this URI."""
        frame = dict(self.metrics["protocol"]["fields"])
        task = TASKS[frame.get("degradation.task", SUPER_RESOLUTION)].title
        lines = [
            f"{self.row} for {task} at scale {self.model.scale}: {self.metrics['descriptions'][self.row]}",
            "",
            *self._usage(uri),
            *("", "### Data", *_bullets(self._data(frame))),
            *("", "### Results on the test scenes", f"{_protocol(self.metrics)}; compare numbers of one hash alone."),
            *("", *_table(self.metrics, self._rows())),
            *("", "### Limits", *_bullets(self._limits(frame))),
        ]
        return _fitting(lines)

    def _usage(self, uri: str) -> list[str]:
        given = '{"lr": lr, "msi": msi}' if self.model.msi_bands != 0 else "lr"
        scale, bands = self.model.scale, self.model.bands or "C"
        return [
            "```python",
            f'model = mlflow.pyfunc.load_model("{uri}")',
            f"sr = model.predict({given})  # float32 (B, {bands}, h, w) -> (B, {bands}, {scale} h, {scale} w)",
            "```",
        ]

    def _data(self, frame: Mapping[str, Any]) -> list[str]:
        counts = {part: len(frame.get(f"plan.{part}", ())) for part in ("train", "val", "test")}
        regions = ", ".join(f"{count} for {part}" for part, count in counts.items())
        psf = f"PSF {frame.get('degradation.psf.kind', 'unknown')}"
        snr = frame.get("degradation.snr_db.lr")
        noise = "no noise" if snr is None else f"noise at {snr} dB SNR"
        lines = [f"Data set {frame['dataset.name']}; regions: {regions}.", f"Simulated LR images: {psf}, {noise}."]
        if (domain := domain_of(self.model)) is not None:
            bands = "wavelengths unknown" if domain.wavelength_nm is None else span(domain.wavelength_nm)
            lines += [f"Trained on {bands}, values {domain.low:.3g} to {domain.high:.3g} of the full range."]
        return lines

    def _rows(self) -> list[str]:
        """Return the row of the model, the rows without training, and its trained baseline."""
        results = [name for name, row in self.metrics["models"].items() if row["kind"] != "ceiling"]
        untrained = [name for name in results if name not in self.metrics["trained"]]
        twin = f"{self.row}{REGRESSION}"
        return list(dict.fromkeys([self.row, *untrained, *([twin] if twin in results else [])]))

    def _limits(self, frame: Mapping[str, Any]) -> list[str]:
        lines = []
        if (fault := self.metrics.get("faults", {}).get(self.row)) is not None:
            lines += [f"Its training was not completed: {fault}."]
        if frame["dataset.name"] == "synthetic":
            lines += ["Trained and tested on generated scenes, which say nothing about real ones."]
        count = len(self.metrics["scenes"])
        lines += [f"The numbers are means over {count} test scene{'' if count == 1 else 's'} of one data set."]
        lines += ["The LR images were simulated: a sensor with another blur or more noise gives worse results."]
        if (domain := domain_of(self.model)) is not None and domain.wavelength_nm is not None:
            lines += ["Other wavelengths are refused; other ranges, spectra and noise give a warning."]
        if self.model.msi_bands != 0:
            lines += ["It needs an HR-MSI of the same ground, aligned with the LR-HSI."]
        doubts = [] if fault else [verdict.text for verdict in judge(self.metrics) if not verdict.ok]
        return lines + [text for text in doubts if self.row in text.replace(",", "").split()]


def _registered(entry: Registration) -> str:
    if entry.version is None:
        return "Nothing was registered: no compared method is trained."
    return f"Registered: {entry.method}, as `{entry.name}` version {entry.version}, alias {entry.alias}."


def _protocol(metrics: Mapping[str, Any]) -> str:
    return f"Protocol {metrics['protocol']['name']}, hash `{metrics['protocol']['hash']}`"


def _table(metrics: Mapping[str, Any], rows: Sequence[str] | None = None) -> list[str]:
    """Return the lines of the table; the spaces separate the columns, which the MLflow UI sets without padding."""
    text = as_markdown(metrics, rows=rows, columns=_COLUMNS)
    return [line.replace(" | ", " | &ensp;") if "---" not in line else line for line in text.splitlines()]


def _bullets(texts: Iterable[str]) -> list[str]:
    return [f"- {text}" for text in texts]


def _fitting(lines: Sequence[str]) -> str:
    """Join as many whole lines as fit."""
    text = "\n".join(lines)
    kept = list(lines)
    while len(text) > LONGEST:
        kept.pop()
        text = "\n".join([*kept, "", _SHORTENED])
    return text
