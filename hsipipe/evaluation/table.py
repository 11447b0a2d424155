"""The result table for a terminal of 80 columns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hsipipe.evaluation.verdicts import judge


class Column(NamedTuple):
    """A metric in a table.

    Attributes:
        key: Key in metrics.json.
        title: Heading.
        unit: Second line of the heading.
        digits: Decimals.
        better: 1 if more is better, -1 if less is, 0 if it is no merit.
    """

    key: str
    title: str
    unit: str
    digits: int
    better: int


COLUMNS = (
    Column("mpsnr_db", "MPSNR", "dB", 2, 1),
    Column("cube_psnr_db", "PSNR", "cube", 2, 1),
    Column("mssim", "MSSIM", "", 4, 1),
    Column("sam_deg", "SAM", "deg", 2, -1),
    Column("ergas", "ERGAS", "", 2, -1),
    Column("cc", "CC", "", 4, 1),
    Column("rmse", "RMSE", "", 4, -1),
    Column("consistency_psnr_db", "Consist", "dB", 2, 1),
    Column("msi_consistency_psnr_db", "MSI", "dB", 2, 1),
    Column("d_lambda", "D_lambda", "", 4, -1),
    Column("d_s", "D_s", "", 4, -1),
    Column("qnr", "QNR", "", 4, 1),
    Column("seconds_per_image", "Time", "s/img", 2, 0),
    Column("nfe", "NFE", "", 0, 0),
)
"""Everything that is measured, in the order of the tables."""
_REPORT_ONLY = {"cc", "rmse", "d_lambda", "d_s", "qnr"}
MISSING = "n/a"
"""Stands where a number is not finite or not there."""


def render(metrics: Mapping[str, Any]) -> Table:
    """The means over the test scenes; ceilings apart and dimmed, the best of the others in bold.

    CC and RMSE, which say little beside PSNR, are left to the report: 80 columns do not hold them. Where there is
    an HR-MSI, the consistency with it takes the place of the cube's PSNR, unless the protocol reports that.
    """
    rows: Mapping[str, Mapping[str, Any]] = metrics["models"]
    best, columns = best_rows(rows), _terminal(metrics)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, title=_title(metrics))
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.title}\n{column.unit}", justify="right", no_wrap=True)
    results = [name for name, row in rows.items() if row.get("kind") != "ceiling"]
    for name in results:
        cells = [
            Text(cell(rows[name].get(column.key), column), style="bold" if best.get(column.key) == name else "")
            for column in columns
        ]
        table.add_row(name, *cells, end_section=name == results[-1])
    for name in (name for name in rows if name not in results):
        cells = [Text(cell(rows[name].get(column.key), column)) for column in columns]
        table.add_row(Text(name), *cells, style="dim")
    return table


def print_table(metrics: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the table and, below it, what it says in words."""
    console = console or Console()
    console.print(render(metrics))
    sentences = Table.grid(padding=(0, 1))
    for verdict in judge(metrics):
        mark = Text("+", style="green") if verdict.ok else Text("!", style="bold yellow")
        sentences.add_row(mark, Text(verdict.text))
    console.print(sentences)


def best_rows(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Per metric that is a merit, the best row that is no ceiling."""
    best = {}
    for column in COLUMNS:
        values = {
            name: column.better * row[column.key]
            for name, row in rows.items()
            if column.better and row.get("kind") != "ceiling" and row.get(column.key) is not None
        }
        if values:
            best[column.key] = max(values, key=lambda name: values[name])
    return best


def cell(value: float | None, column: Column) -> str:
    """A number as it is shown; :data:`MISSING` where it is not finite or not there, never a rounded zero."""
    if value is None:
        return MISSING
    least = 10.0**-column.digits
    return f"<{least:.{column.digits}f}" if 0 < value < least / 2 else f"{value:.{column.digits}f}"


def _terminal(metrics: Mapping[str, Any]) -> list[Column]:
    """What 80 columns hold."""
    fused = any(row.get("msi_consistency_psnr_db") is not None for row in metrics["models"].values())
    headline = dict(metrics.get("protocol", {}).get("fields", [])).get("headline")
    hidden = "cube_psnr_db" if fused and headline != "cube_psnr_db" else "msi_consistency_psnr_db"
    return [column for column in COLUMNS if column.key not in {*_REPORT_ONLY, hidden}]


def _title(metrics: Mapping[str, Any]) -> str | None:
    protocol = metrics.get("protocol")
    if protocol is None:
        return None
    count = len(metrics.get("scenes", {}))
    scenes = f"mean over {count} test scene{'' if count == 1 else 's'}"
    return f"{scenes}, protocol {protocol['name']} {protocol['hash']}"
