"""Combine the scores of several methods into one table."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsipipe.artifacts import Scores
from hsipipe.artifacts.no_data import NO_DATA
from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.evaluation.verdicts import judge, marked
from hsipipe.protocols import require_same
from hsipipe.protocols.metrics import METRIC, METRICS, Metric

Values = dict[str, float | None]


@dataclass(frozen=True)
class RowScores:
    """The scores of a row: of one training, or of several that differ only in their seed.

    Attributes:
        name: Name of the row.
        runs: The tree of ``scores.json`` of each seed.
    """

    name: str
    runs: Sequence[Mapping[str, Any]]

    @property
    def first(self) -> Mapping[str, Any]:
        """The scores of the seed that the settings name."""
        return self.runs[0]

    @property
    def seeded(self) -> bool:
        """Return True if the row has a deviation over seeds; without training, every seed gives the same values."""
        return len(self.runs) > 1 and bool(self.first["trained"])


def read_scores(folder: Path) -> dict[str, Any]:
    """Read the scores of a method.

    Raises:
        MissingInputError: The folder has no scores.
        FileFormatError: The file is not JSON.
    """
    path = folder / Scores.FILE
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"No {path.name} in {folder}; run the stage evaluate.") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is not JSON ({error}); run the stage evaluate again.") from error
    return tree


def compare_scores(rows: Sequence[RowScores]) -> dict[str, Any]:
    """Put the scores of all rows into one tree.

    Args:
        rows: In the order of the table; gains are measured against the first.

    Returns:
        The tree of metrics.json, ready for strict JSON: ``baseline``, ``models`` (means over scenes and seeds; ceilings
        last), ``scenes``, ``spread`` (standard deviation over the seeds of trained methods, K - 1 in its denominator),
        ``seeds``, ``gain_db``, ``descriptions``, ``trained``, ``fuses`` (rows that see the HR-MSI), ``validation``,
        ``uncertainty``, ``undefined`` (metric to the scenes that its means skip), ``faults`` (why the training of a row
        was not completed), ``test_set``, ``protocol`` and ``verdicts``.

    Raises:
        DataError: Two rows follow different protocols, or were scored on different scenes.
    """
    _require_one_frame(rows)
    frame, skipped = rows[0].first, _undefined(rows)
    kinds, scenes, spread = _by_row(rows, skipped)
    models: dict[str, dict[str, Any]] = {}
    for name in sorted(kinds, key=lambda name: kinds[name] == "ceiling"):
        models[name] = {**_over_scenes({scene: row[name] for scene, row in scenes.items()}, skipped)}
        models[name]["kind"] = kinds[name]
        models[name]["nfe"] = next(iter(scenes.values()))[name]["nfe"]
    tree: dict[str, Any] = {
        "baseline": rows[0].name,
        "models": models,
        "scenes": scenes,
        "spread": spread,
        "seeds": {row.name: len(row.runs) for row in rows if row.seeded},
        "gain_db": _gains(models, rows[0].name),
        "descriptions": {row.name: row.first["description"] for row in rows},
        "trained": [row.name for row in rows if row.first["trained"]],
        "fuses": [row.name for row in rows if row.first.get("fuses")],
        "validation": {row.name: row.first["val_mpsnr_db"] for row in rows if "val_mpsnr_db" in row.first},
        "test_set": frame["test_set"],
        "protocol": frame["protocol"],
    }
    uncertainty = {row.name: row.first["uncertainty"] for row in rows if "uncertainty" in row.first}
    tree |= {"uncertainty": uncertainty} if uncertainty else {}
    tree |= {"undefined": skipped} if skipped else {}
    faults = _faults(rows)
    tree |= {"faults": faults} if faults else {}
    tree["verdicts"] = [verdict.text for verdict in judge(tree)]
    return tree


def _undefined(rows: Sequence[RowScores]) -> dict[str, list[str]]:
    """Return the scenes whose holes leave a metric nothing to measure, such as no whole window of SSIM, by metric.

    All rows have the same holes, so none has the metric there; a mean over the other scenes still compares them.
    """
    runs = [run for row in rows for run in row.runs]
    found: dict[str, list[str]] = {}
    for entry in rows[0].first["test_set"]:
        scene = entry["scene"]
        values = [run["scenes"][scene][run["name"]] for run in runs]
        for key in values[0] if NO_DATA in entry else ():
            if all(one.get(key) is None for one in values):
                found.setdefault(key, []).append(scene)
    # A metric that no scene has stays undefined.
    return {key: scenes for key, scenes in found.items() if len(scenes) < len(rows[0].first["scenes"])}


def _by_row(
    rows: Sequence[RowScores], skipped: Mapping[str, Sequence[str]]
) -> tuple[dict[str, str], dict[str, dict[str, Values]], dict[str, Values]]:
    """Return by row its kind, its values in each scene as means over seeds, and their deviations over seeds."""
    kinds: dict[str, str] = {}
    scenes: dict[str, dict[str, Values]] = {scene: {} for scene in rows[0].first["scenes"]}
    spread: dict[str, Values] = {}
    ceilings: dict[str, dict[str, list[float | None]]] = {}
    for row in rows:
        for name, kind in row.first["kinds"].items():
            key = row.name if kind == "method" else _ceiling_key(row, name, ceilings.setdefault(name, {}))
            if key in kinds:
                continue
            kinds[key] = kind
            for scene, values in scenes.items():
                values[key] = _mean([run["scenes"][scene][_key(run, name, kind)] for run in row.runs])
            if kind == "method" and row.seeded:
                spread[key] = _deviation(
                    [_over_scenes(_of_scenes(run, _key(run, name, kind)), skipped) for run in row.runs]
                )
    return kinds, scenes, spread


def _faults(rows: Sequence[RowScores]) -> dict[str, str]:
    """Faults of the trainings by row; of several seeds, the first fault and how many have one."""
    found: dict[str, str] = {}
    for row in rows:
        of_runs = [
            {row.name if name == run["name"] else name: text for name, text in run.get("faults", {}).items()}
            for run in row.runs
        ]
        for name in dict.fromkeys(name for faults in of_runs for name in faults):
            texts = [faults[name] for faults in of_runs if name in faults]
            found[name] = texts[0] if len(of_runs) == 1 else f"{len(texts)} of {len(of_runs)} trainings: {texts[0]}"
    return found


def _require_one_frame(rows: Sequence[RowScores]) -> None:
    frame = rows[0].first
    for row in rows:
        for run in row.runs:
            require_same(run["protocol"], frame["protocol"])
            if run["test_set"] != frame["test_set"]:
                raise DataError(f"{row.name} and {rows[0].name} were scored on different scenes; evaluate both again.")


def as_markdown(
    metrics: Mapping[str, Any], *, rows: Sequence[str] | None = None, columns: Sequence[Metric] = METRICS
) -> str:
    """Format the table as Markdown, with the deviation over seeds where there is one.

    Args:
        metrics: The tree of metrics.json.
        rows: Rows of the table; None: all.
        columns: Columns of the table; those without any value are skipped.
    """
    models = metrics["models"] if rows is None else {name: metrics["models"][name] for name in rows}
    columns = [metric for metric in columns if any(metric.key in row for row in models.values())]
    lines = [["", *(f"{column.title} {column.unit}".strip() for column in columns)], ["---"] * (len(columns) + 1)]
    for name, row in models.items():
        deviation = metrics.get("spread", {}).get(name, {})
        lines.append([marked(metrics, name), *(with_spread(column, row, deviation) for column in columns)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    notes = undefined_notes(metrics)
    table += f"\n{' '.join(notes)}\n" if notes else ""
    faults = {name: text for name, text in metrics.get("faults", {}).items() if name in models}
    return table + "".join(f"\n{marked(metrics, name)}: {text}.\n" for name, text in faults.items())


def undefined_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Say which means skip scenes, a sentence for each group of metrics with the same scenes."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, scenes in metrics.get("undefined", {}).items():
        groups.setdefault(tuple(scenes), []).append(METRIC[key].title)
    why = "where pixels without data leave no whole window or block"
    return [f"{', '.join(titles)}: mean without {', '.join(scenes)}, {why}." for scenes, titles in groups.items()]


def as_csv(metrics: Mapping[str, Any]) -> str:
    """Format the table as CSV with all digits; a value that is not finite is an empty cell."""
    columns = [metric.key for metric in METRICS]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "kind", *columns, *(f"{key}_std" for key in columns), "fault"])
    for name, row in metrics["models"].items():
        deviation = metrics.get("spread", {}).get(name, {})
        cells = [row.get(key) for key in columns] + [deviation.get(key) for key in columns]
        fault = metrics.get("faults", {}).get(name, "")
        writer.writerow([name, row["kind"], *("" if value is None else value for value in cells), fault])
    return text.getvalue()


def with_spread(column: Any, row: Mapping[str, Any], deviation: Mapping[str, Any]) -> str:
    """Format a cell, such as ``41.28±0.08``."""
    value, std = row.get(column.key), deviation.get(column.key)
    text: str = column.text(value)
    # No deviation for times, which depend on the load of the machine, nor for NFE, which does not vary. Nor do the
    # predictions of the posteriors of several seeds, which share their regression.
    if value is None or not std or column.sign == 0:
        return text
    return f"{value:.{column.digits}f}±{std:.{column.digits}f}"


def _key(run: Mapping[str, Any], name: str, kind: str) -> str:
    return str(run["name"]) if kind == "method" else name


def _ceiling_key(row: RowScores, name: str, known: dict[str, list[float | None]]) -> str:
    """Name of the ceiling; append the row's name where `known` has other values, of another autoencoder, under it.

    `known` maps the keys of this name to the values of their first run; the new one is added.
    """
    values = [scene[name]["mpsnr_db"] for scene in row.first["scenes"].values()]
    for key, others in known.items():
        if others == values:
            return key
    key = f"{name} ({row.name})" if known else name
    known[key] = values
    return key


def _of_scenes(run: Mapping[str, Any], name: str) -> dict[str, Values]:
    return {scene: values[name] for scene, values in run["scenes"].items()}


def _over_scenes(scenes: Mapping[str, Values], skipped: Mapping[str, Sequence[str]]) -> Values:
    """Return the means over scenes; each metric skips the scenes where it is :func:`_undefined`."""
    return {
        key: _number([row[key] for scene, row in scenes.items() if scene not in skipped.get(key, ())], np.mean)
        for key in next(iter(scenes.values()))
    }


def _mean(rows: Sequence[Mapping[str, float | None]]) -> Values:
    return {key: _number([row[key] for row in rows], np.mean) for key in rows[0]}


def _deviation(rows: Sequence[Mapping[str, float | None]]) -> Values:
    return {key: _number([row[key] for row in rows], lambda values: np.std(values, ddof=1)) for key in rows[0]}


def _number(values: Sequence[float | None], reduce: Any) -> float | None:
    if any(value is None for value in values):
        return None
    result = float(reduce([float(value) for value in values if value is not None]))
    return result if math.isfinite(result) else None


def _gains(models: Mapping[str, Mapping[str, Any]], baseline: str) -> dict[str, float | None]:
    start = models[baseline]["mpsnr_db"]
    return {
        name: None if None in (start, row["mpsnr_db"]) else row["mpsnr_db"] - start
        for name, row in models.items()
        if name != baseline
    }
