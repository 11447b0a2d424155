"""The result table for a terminal of 80 columns."""

from collections.abc import Collection, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hsipipe.evaluation.comparison import undefined_notes, with_spread
from hsipipe.evaluation.verdicts import judge, marked
from hsipipe.protocols.metrics import METRICS, Metric

BEST = "*"
"""Mark of the best value of a column."""


def render(metrics: Mapping[str, Any], *, uncertainty: bool = False) -> Table:
    """Tabulate the means over the test scenes; ceilings come last and dimmed, the best others are marked.

    Args:
        metrics: The tree of metrics.json.
        uncertainty: The metrics of samples instead, without ceilings.
    """
    rows: Mapping[str, Mapping[str, Any]] = metrics["models"]
    if uncertainty:
        rows = {name: row for name, row in rows.items() if row.get("kind") != "ceiling"}
    best = best_rows(rows, leave_out=metrics.get("faults", {}))
    columns = _of_samples() if uncertainty else _terminal(metrics)
    deviations = metrics.get("spread", {})
    table = Table(box=box.SIMPLE_HEAD, padding=0, title=_title(metrics))
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.heading} \n{column.unit} ", justify="right", no_wrap=True)
    results = [name for name, row in rows.items() if row.get("kind") != "ceiling"]
    for name in results:
        cells = []
        for column in columns:
            text, is_best = with_spread(column, rows[name], deviations.get(name, {})), name in best.get(column.key, ())
            # In text as well, for terminals and files without bold. It stands in the space between the columns.
            cells.append(Text(f"{text}{BEST if is_best else ' '}", style="bold" if is_best else ""))
        table.add_row(marked(metrics, name), *cells, end_section=name == results[-1])
    for name in (name for name in rows if name not in results):
        cells = [Text(f"{column.text(rows[name].get(column.key))} ") for column in columns]
        table.add_row(Text(marked(metrics, name)), *cells, style="dim")
    return table


def print_table(metrics: Mapping[str, Any], console: Console | None = None, *, uncertainty: bool = False) -> None:
    """Print the table, and below it the verdicts; with `uncertainty` the table of samples, and what its columns are."""
    console = console or Console()
    console.print(render(metrics, uncertainty=uncertainty))
    if uncertainty:
        for metric in _of_samples():
            console.print(f"{metric.heading}: {metric.definition}.")
        return
    for note in undefined_notes(metrics):
        console.print(note)
    sentences = Table.grid(padding=(0, 1))
    for verdict in judge(metrics):
        mark = Text("+", style="green") if verdict.ok else Text("!", style="bold yellow")
        sentences.add_row(mark, Text(verdict.text))
    console.print(sentences)


def best_rows(rows: Mapping[str, Mapping[str, Any]], *, leave_out: Collection[str] = ()) -> dict[str, frozenset[str]]:
    """The best rows of each metric that has a better direction, without ceilings and those in `leave_out`.

    Several rows are the best if their values are equal: a posterior and its regression have the same prediction.
    """
    best = {}
    for metric in METRICS:
        values = {
            name: metric.sign * row[metric.key]
            for name, row in rows.items()
            if metric.sign
            and row.get("kind") != "ceiling"
            and name not in leave_out
            and row.get(metric.key) is not None
        }
        if values:
            top = max(values.values())
            best[metric.key] = frozenset(name for name, value in values.items() if value == top)
    return best


def _of_samples() -> list[Metric]:
    return [metric for metric in METRICS if metric.of_samples and metric.terminal]


def _terminal(metrics: Mapping[str, Any]) -> list[Metric]:
    """The metrics that fit into 80 columns: consistency with both inputs, or those of samples if any."""
    there = {key for row in metrics["models"].values() for key, value in row.items() if value is not None}
    headline = dict(metrics.get("protocol", {}).get("fields", [])).get("headline")
    more = {"cube_psnr_db", "consistency_psnr_db"}
    if "msi_consistency_psnr_db" in there and headline not in more:
        more = {"msi_consistency_psnr_db", "consistency_psnr_db"}
    elif "coverage_90" in there and headline not in more:
        more = {"crps", "coverage_90"}
    return [metric for metric in METRICS if (metric.terminal and not metric.of_samples) or metric.key in more]


def _title(metrics: Mapping[str, Any]) -> str | None:
    protocol = metrics.get("protocol")
    if protocol is None:
        return None
    count = len(metrics.get("scenes", {}))
    scenes = f"mean over {count} test scene{'' if count == 1 else 's'}"
    return f"{scenes}, protocol {protocol['name']} {protocol['hash']}"
