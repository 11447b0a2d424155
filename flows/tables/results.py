"""Keep the results of a table's runs, and print them beside the paper's numbers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.tables.paper_tables import COLUMNS, PaperTable, Part
from hsipipe.errors import IntegrityError
from hsipipe.json_text import parse_json
from hsipipe.protocols import require_same
from hsipipe.protocols.metrics import METRIC, MISSING
from hsipipe.storage.publish import write_text

if TYPE_CHECKING:
    from rich.table import Table

MARK = "\N{DAGGER}"
"""Marks the columns of another protocol."""


def keep(root: Path, table: PaperTable, part: Part, metrics: Mapping[str, Any], *, own: Sequence[str] = ()) -> None:
    """Store the metrics of a run, since the next one replaces reports/metrics.json.

    Args:
        root: The project.
        table: The table.
        part: What ran.
        metrics: Content of reports/metrics.json.
        own: Overrides of the user; each set of overrides has its own result.
    """
    write_text(_path(root, table, part, own), json.dumps({"overrides": [*own], **metrics}, indent=1) + "\n")


def kept(root: Path, table: PaperTable, title: str, *, own: Sequence[str] = ()) -> dict[str, Any]:
    """Return the metrics of a data set and scale, the rows of its parts together; empty if none has run.

    Args:
        root: The project.
        table: The table.
        title: A data set and scale of it.
        own: Overrides of the user.

    Raises:
        IntegrityError: A file is damaged.
        DataError: The parts have different protocols, as after runs with different overrides.
    """
    merged: dict[str, Any] = {}
    for part in (part for part in table.parts if part.title == title):
        path = _path(root, table, part, own)
        if not path.is_file():
            continue
        try:
            tree = parse_json(path.read_text(encoding="utf-8"))
            models, protocol = dict(tree["models"]), tree["protocol"]
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{path} is damaged ({error!r}); remove it and run the table again.") from error
        if merged:
            require_same(merged["protocol"], protocol)
        merged = {"protocol": protocol, "models": {**merged.get("models", {}), **models}}
    return merged


def beside(table: PaperTable, title: str, metrics: Mapping[str, Any], *, own: Sequence[str] = ()) -> "Table":
    """Return our rows beside the paper's numbers, at most 80 columns wide.

    Args:
        table: The table.
        title: A data set and scale of it.
        metrics: What :func:`kept` returns.
        own: Overrides of the user, for the title: with them it is another table.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    models, published = metrics.get("models", {}), table.published.get(title, {})
    made = f"protocol {metrics['protocol']['name']} {metrics['protocol']['hash']}" if metrics else "no run yet"
    made += f", with {' '.join(own)}" if own else ""
    shown = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False, title=escape(f"{title}, {made}")
    )
    shown.add_column("", no_wrap=True)
    for origin in ("", f"paper{MARK}\n"):
        for key in COLUMNS:
            column = METRIC[key]
            shown.add_column(f"{origin or chr(10)}{column.heading}\n{column.unit}", justify="right", no_wrap=True)
    for name in _rows(table, title, models):
        row, theirs = models.get(name, {}), published.get(name, [None] * len(COLUMNS))
        ours = [replace(METRIC[key], digits=digits).text(row.get(key)) for key, digits in COLUMNS.items()]
        shown.add_row(name, *ours, *map(_published, theirs, COLUMNS.values()))
    return shown


def footnote(table: PaperTable) -> str:
    """Return what the mark means."""
    return f"{MARK} Values of {table.paper}, which has another protocol: {table.differs}"


def _rows(table: PaperTable, title: str, models: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Our rows without ceilings, then those of the table that have no result."""
    run = [name for name, row in models.items() if row.get("kind") != "ceiling"]
    return [*run, *(name for name in table.methods(title) if name not in run)]


def _published(value: float | None, digits: int) -> str:
    """Format a published number without digits that it does not have."""
    return MISSING if value is None else f"{round(value, digits):g}"


def _path(root: Path, table: PaperTable, part: Part, own: Sequence[str]) -> Path:
    changed = f"-{hashlib.sha256(json.dumps([*own]).encode()).hexdigest()[:8]}" if own else ""
    name = f"{part.dataset}-x{part.scale}-patches-{part.patch}{changed}.json"
    return root / "reports" / "tables" / table.name / name
