"""Two results side by side, if they may stand side by side."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from hsipipe.errors import FileFormatError, MissingInputError
from hsipipe.evaluation.table import COLUMNS, MISSING, cell
from hsipipe.protocols import require_same

_SHOWN = ("mpsnr_db", "mssim", "sam_deg", "ergas")


def comparison_table(first: Path, second: Path) -> Table:
    """Means of the rows that both files have, and the second's difference from the first.

    Args:
        first: A ``metrics.json``.
        second: Another one.

    Raises:
        MissingInputError: A file is missing.
        FileFormatError: A file is no metrics.json.
        DataError: They follow different protocols; the message names what differs.
    """
    a, b = _read(first), _read(second)
    require_same(a["protocol"], b["protocol"])
    columns = [column for column in COLUMNS if column.key in _SHOWN]
    protocol = a["protocol"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"protocol {protocol['name']} {protocol['hash']}")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(f"{column.title}\n{column.unit}", justify="right", no_wrap=True)
    for name in (name for name in a["models"] if name in b["models"]):
        for label, row in (("A", a["models"][name]), ("B", b["models"][name])):
            table.add_row(f"{name} {label}", *(cell(row.get(column.key), column) for column in columns))
        differences = []
        for column in columns:
            before, after = (tree["models"][name].get(column.key) for tree in (a, b))
            known = before is not None and after is not None
            differences.append(f"{after - before:+.{column.digits}f}" if known else MISSING)
        table.add_row("  B - A", *differences, end_section=True, style="bold")
    return table


def _read(path: Path) -> Mapping[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        _check(tree["models"], tree["protocol"])
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingInputError(f"No file {path}; give two metrics.json, such as reports/metrics.json.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} is no metrics.json of an evaluation: {error!r}.") from error
    return dict(tree)


def _check(models: Mapping[str, Mapping[str, Any]], protocol: Mapping[str, Any]) -> None:
    for name, row in models.items():
        for key in _SHOWN:
            if not isinstance(row.get(key), int | float | None):
                raise TypeError(f"{key} of {name} is {row[key]!r}")
    for key in ("name", "hash"):
        if not isinstance(protocol[key], str):
            raise TypeError(f"{key} of the protocol is {protocol[key]!r}")
    dict(protocol.get("fields", []))
