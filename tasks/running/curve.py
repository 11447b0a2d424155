"""Training curve: metrics by step, as a table for DVC."""

import csv
import io
from collections.abc import Mapping


class Curve:
    """Metrics by step. A repeated step replaces its row and drops all later rows.

    This happens when a training resumes from a point older than its last row.
    """

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of a step; several calls for one step fill one row."""
        if self._rows and step < max(self._rows):
            self._rows = {known: row for known, row in self._rows.items() if known < step}
        self._rows.setdefault(step, {}).update(metrics)

    def csv(self) -> str:
        """Return the table as CSV: ``step`` and one column per metric, empty where a step lacks it."""
        columns = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *columns], lineterminator="\n")
        writer.writeheader()
        for step, row in sorted(self._rows.items()):
            writer.writerow({"step": step, **{name: f"{value:.6g}" for name, value in row.items()}})
        return text.getvalue()
