"""The results of a sweep as one table: for a terminal of 80 columns, as Markdown, CSV and JSON.

Beside each point's model stand its controls. A row whose numbers no point changes stands once, at the head.
"""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from hsipipe.protocols import require_same
from hsipipe.protocols.metrics import METRICS, MISSING, Metric

EVERY = "every point"
GROUPS = Metric("groups", "G", "number of groups of bands", digits=0)
MARGIN = Metric("control_margin_db", "Control", "MPSNR minus that of the better control (dB)", digits=2, unit="dB")
NOTE = (
    "A point's own row is the model; Control: its MPSNR minus that of the better control. "
    "Ceilings see the truth: ae-ceiling is what the autoencoder loses by itself, latent-ceiling what is lost as the "
    "model decodes. Time is of this machine."
)
NOTE_SPREAD = "Mean and standard deviation (n - 1) over the points."
_SHOWN = ("mpsnr_db", "mssim", "sam_deg", "ergas", "seconds_per_image", "nfe")
_SPREAD = ("mpsnr_db", "mssim", "sam_deg", "ergas", "seconds_per_image")
_QUALITY = tuple(metric for metric in METRICS if metric.sign)
_ORDER = ("model", "control", "baseline", "ceiling")


@dataclass(frozen=True)
class PointResult:
    """One finished point.

    Attributes:
        label: Its name.
        settings: What it sets, by dotted names.
        metrics: The tree of its metrics.json.
        groups: Number of groups G, where known.
    """

    label: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    groups: int | None = None


@dataclass(frozen=True)
class SweepRow:
    """One line of the table.

    Attributes:
        point: Label of its point, or :data:`EVERY`.
        row: Name in metrics.json.
        kind: model, control, baseline or ceiling.
        values: Column key to number; None where it is not finite or not there.
        spread: Column key to standard deviation over the points; of a spread alone.
    """

    point: str
    row: str
    kind: str
    values: Mapping[str, float | None]
    spread: Mapping[str, float | None] = field(default_factory=dict)


def check_comparable(results: Sequence[PointResult]) -> None:
    """Refuse results of different protocols.

    Raises:
        DataError: Two of them differ; the message names what differs.
    """
    for result in results[1:]:
        require_same(results[0].metrics["protocol"], result.metrics["protocol"])


def sweep_rows(results: Sequence[PointResult]) -> list[SweepRow]:
    """The lines of the table, point by point, what all points share first.

    Raises:
        DataError: See :func:`check_comparable`.
    """
    check_comparable(results)
    shared = _shared(results)
    lines = [SweepRow(EVERY, name, *_numbers(results[0], name)) for name in _ordered(results[0]) if name in shared]
    for result in results:
        lines += [
            SweepRow(result.label, name, *_numbers(result, name)) for name in _ordered(result) if name not in shared
        ]
    return lines


def spread_rows(results: Sequence[PointResult]) -> list[SweepRow]:
    """Mean and standard deviation over the points, of every row and column.

    Raises:
        DataError: See :func:`check_comparable`.
    """
    check_comparable(results)
    lines = []
    for name in _ordered(results[0]):
        values = [_numbers(result, name)[1] for result in results if name in result.metrics["models"]]
        mean, spread = {}, {}
        for column in METRICS:
            known = [row[column.key] for row in values]
            numbers = [number for number in known if number is not None]
            whole = len(numbers) == len(known)  # a mean over some of the points would pass for one over all
            mean[column.key] = statistics.fmean(numbers) if numbers and whole else None
            spread[column.key] = statistics.stdev(numbers) if len(numbers) > 1 and whole else None
        lines.append(SweepRow(f"{len(values)} points", name, _kind(results[0], name), mean, spread))
    return lines


def sweep_tree(title: str, results: Sequence[PointResult]) -> dict[str, Any]:
    """Everything for strict JSON: protocol, lines, and mean and spread over the points."""
    return {
        "title": title,
        "protocol": results[0].metrics["protocol"],
        "points": [{"label": result.label, "settings": dict(result.settings)} for result in results],
        "rows": [_as_tree(line) for line in sweep_rows(results)],
        "spread": [_as_tree(line) for line in spread_rows(results)],
    }


def render_sweep(title: str, results: Sequence[PointResult]) -> Table:
    """The lines in 80 columns; the best model of each column in bold, ceilings dimmed."""
    lines = sweep_rows(results)
    columns = [*(column for column in METRICS if column.key in _SHOWN), GROUPS, MARGIN]
    best = _best(lines)
    table = _new_table(f"{title}\n{_frame(results)}", columns)
    table.caption = NOTE
    last, height = "", 0
    for line in lines:
        if line.point != last:
            last, before, height = line.point, height, sum(other.point == line.point for other in lines)
            if max(before, height) > 1:  # points of a single row need no air between them
                table.add_section()
            if line.point == EVERY or line.kind != "model":
                table.add_row(Text(line.point))
        name = line.point if line.kind == "model" and line.point != EVERY else f"  {line.row}"
        cells = [Text(_cell(line, column), style="bold" if best.get(column.key) is line else "") for column in columns]
        table.add_row(Text(name), *cells, style="dim" if line.kind == "ceiling" else "")
    return table


def render_spread(title: str, results: Sequence[PointResult]) -> Table:
    """Mean and standard deviation of every row over the points, in 80 columns."""
    columns = [column for column in METRICS if column.key in _SPREAD]
    table = _new_table(f"{title}\n{_frame(results)}, {len(results)} points", columns)
    table.caption = NOTE_SPREAD
    for line in spread_rows(results):
        cells = [_spread_cell(line, column) for column in columns]
        table.add_row(Text(line.row), *cells, style="dim" if line.kind == "ceiling" else "")
    return table


def as_markdown(title: str, results: Sequence[PointResult], *, spread: bool) -> str:
    """A Markdown page with the table; with `spread` the one of means first."""
    parts = [f"# {title}", f"{_frame(results)[0].upper()}{_frame(results)[1:]}."]
    if spread:
        columns = [column for column in METRICS if column.key in _SPREAD]
        rows = [
            [line.row, line.kind, *(_spread_cell(line, column) for column in columns)] for line in spread_rows(results)
        ]
        parts += [_markdown(["row", "kind", *map(_heading, columns)], rows), NOTE_SPREAD]
    columns = [*METRICS, GROUPS, MARGIN]
    rows = [
        [line.point, line.row, line.kind, *(_cell(line, column) for column in columns)] for line in sweep_rows(results)
    ]
    parts += [_markdown(["point", "row", "kind", *map(_heading, columns)], rows), NOTE]
    return "\n\n".join(parts) + "\n"


def as_csv(results: Sequence[PointResult]) -> str:
    """The lines with all digits; an empty cell where there is no finite number."""
    columns = [column.key for column in (*METRICS, GROUPS, MARGIN)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", "row", "kind", *columns])
    for line in sweep_rows(results):
        numbers = [line.values.get(key) for key in columns]
        writer.writerow([line.point, line.row, line.kind, *("" if value is None else value for value in numbers)])
    return text.getvalue()


def _numbers(result: PointResult, name: str) -> tuple[str, dict[str, float | None]]:
    """Kind and values of a row; a model has its margin over the better control, too."""
    models = result.metrics["models"]
    values: dict[str, float | None] = {column.key: models[name].get(column.key) for column in METRICS}
    kind = _kind(result, name)
    if kind == "model":
        controls = [row["mpsnr_db"] for row in models.values() if row["kind"] == "control"]
        mine = values["mpsnr_db"]
        known = mine is not None and controls and None not in controls
        values[MARGIN.key] = mine - max(controls) if known and mine is not None else None
        values[GROUPS.key] = result.groups
    return kind, values


def _shared(results: Sequence[PointResult]) -> set[str]:
    """Rows with the same quality in every point, as far as the table shows it."""
    if len(results) < 2:
        return set()
    seen = [
        {name: [column.text(row.get(column.key)) for column in _QUALITY] for name, row in models.items()}
        for models in (result.metrics["models"] for result in results)
    ]
    same = {name for name in seen[0] if all(other.get(name) == seen[0][name] for other in seen[1:])}
    return {name for name in same if _kind(results[0], name) != "model"}


def _ordered(result: PointResult) -> list[str]:
    return sorted(result.metrics["models"], key=lambda name: _ORDER.index(_kind(result, name)))


def _kind(result: PointResult, name: str) -> str:
    return str(result.metrics["models"][name]["kind"])


def _best(lines: Sequence[SweepRow]) -> dict[str, SweepRow]:
    best = {}
    for column in _QUALITY:
        scored = [(line.values[column.key], line) for line in lines if line.kind == "model"]
        known = [(column.sign * value, line) for value, line in scored if value is not None]
        if len(known) > 1:
            best[column.key] = max(known, key=lambda pair: pair[0])[1]
    return best


def _new_table(title: str, columns: Sequence[Metric]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, title=title)
    table.caption_justify = "left"
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.heading}\n{column.unit}", justify="right", no_wrap=True)
    return table


def _cell(line: SweepRow, column: Metric) -> str:
    if column in (GROUPS, MARGIN):
        value = line.values.get(column.key)
        if value is None:
            return ""
        return f"{value:+.2f}" if column is MARGIN else f"{value:.0f}"
    return column.text(line.values.get(column.key))


def _spread_cell(line: SweepRow, column: Metric) -> str:
    value, spread = line.values[column.key], line.spread[column.key]
    if value is None:
        return MISSING
    return column.text(value) if spread is None else f"{value:.{column.digits}f}±{spread:.{column.digits}f}"


def _heading(column: Metric) -> str:
    return f"{column.heading} {column.unit}".strip()


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _frame(results: Sequence[PointResult]) -> str:
    metrics = results[0].metrics
    count = len(metrics.get("scenes", {}))
    return (
        f"mean over {count} test scene{'' if count == 1 else 's'}, "
        f"protocol {metrics['protocol']['name']} {metrics['protocol']['hash']}"
    )


def _as_tree(line: SweepRow) -> dict[str, Any]:
    tree = {"point": line.point, "row": line.row, "kind": line.kind, "values": _finite(line.values)}
    return {**tree, "spread": _finite(line.spread)} if line.spread else tree


def _finite(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {key: value if value is not None and math.isfinite(value) else None for key, value in values.items()}
