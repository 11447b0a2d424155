"""Choose the rows of the table that the figures show, and give each of them one colour in all figures."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hsipipe.evaluation.verdicts import baseline_of

MAX_ROWS = 7
"""Most rows in the figures: the first row and the best of the others."""
# The palette of Okabe and Ito, which colour-blind readers can distinguish (jfly.uni-koeln.de/color). Grey is the first
# row, the baseline of the gains.
_COLOURS = ("#7a7a7a", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5b4ba0", "#8c564b")
OTHER = "#c4c4c4"
"""Colour of the rows that the other figures do not show."""


def choose_rows(metrics: Mapping[str, Any], limit: int = MAX_ROWS) -> list[str]:
    """Choose the rows in the figures, in the order of the table: all, or the first and the best others by MPSNR."""
    names = [name for name, row in metrics["models"].items() if row["kind"] != "ceiling"]
    others = [name for name in names if name != baseline_of(metrics)]
    faults = metrics.get("faults", {})  # rows whose training was not completed come last
    others.sort(key=lambda name: (name in faults, -(metrics["models"][name]["mpsnr_db"] or -math.inf)))
    kept = set(others[: limit - 1])
    return [name for name in names if name in kept or name == baseline_of(metrics)]


def colours(names: Iterable[str]) -> dict[str, str]:
    """Assign one colour to each chosen row by its place."""
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
