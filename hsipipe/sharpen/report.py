"""Tell what became of a scene: a table, a sentence, and a tree for JSON."""

import math
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from hsipipe.inference.plan import Box
from hsipipe.protocols.metrics import METRIC
from hsipipe.sharpen.compare import LEAST_GAIN_DB, Candidate, Comparison
from hsipipe.sharpen.reduced import Reduced
from hsipipe.sharpen.regions import Regions
from hsipipe.sharpen.scene import Scene
from hsipipe.sharpen.scores import gains_by_group
from hsipipe.sharpen.start import Start

_METRICS = ("mpsnr_db", "sam_deg", "ergas")


@dataclass(frozen=True, eq=False)
class Report:
    """The results of a scene.

    Attributes:
        scene: The scene.
        reduced: The scene and its degradation.
        regions: Where it was fitted, chosen and judged.
        comparison: The candidates.
        start: Network that the trained one started from; None: random weights.
    """

    scene: Scene
    reduced: Reduced
    regions: Regions
    comparison: Comparison
    start: Start | None = None

    @property
    def is_better(self) -> bool:
        """Return True if the chosen method beats interpolation."""
        return self.comparison.chosen is not self.comparison.baseline

    def gains(self, candidate: Candidate) -> dict[str, float]:
        """Return the gain of a candidate over interpolation in dB, by group of bands."""
        return gains_by_group(candidate.judge, self.comparison.baseline.judge, self.scene.wavelength_nm)

    def sentence(self) -> str:
        """Tell in one sentence how much better the result is than interpolation, where it is not, and of what kind."""
        if not self.is_better:
            return (
                "No candidate beats bicubic interpolation on this scene at reduced resolution, so the result is the "
                "interpolation; at full resolution that is an estimate."
            )
        groups = [name for name, gain in self.gains(self.comparison.chosen).items() if gain < LEAST_GAIN_DB]
        but = f", except in {_listed(groups)}, where it is not better" if groups else ""
        return (
            f"The result ({self.comparison.chosen.name}) is about {self.comparison.gain_db:.1f} dB MPSNR better than "
            f"bicubic interpolation{but}; this was measured on a held-out part of the scene at {self.reduced.scale} "
            "times larger pixels, so at full resolution it is an estimate."
        )

    def table(self) -> Table:
        """Return the candidates with their metrics in the region for judging, interpolation first."""
        baseline = self.comparison.baseline
        # For 80 columns: where that is not enough, a name is folded, and no number is cut.
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("held-out\nregion", overflow="fold")
        groups = list(self.gains(baseline))
        for title in (*(_title(key) for key in _METRICS), "gain\ndB", *(f"{name}\ndB" for name in groups), "s"):
            table.add_column(title, justify="right", no_wrap=True)
        for entry in self.comparison.candidates:
            name = f"[bold]{entry.name}[/bold]" if entry is self.comparison.chosen else entry.name
            cells = [f"{entry.judge.metrics[key]:.{METRIC[key].digits}f}" for key in _METRICS]
            gain = f"{entry.judge.mpsnr_db - baseline.judge.mpsnr_db:+.2f}"
            table.add_row(
                name, *cells, gain, *(f"{value:+.1f}" for value in self.gains(entry).values()), f"{entry.seconds:.0f}"
            )
        return table

    def tree(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        chosen = self.comparison.chosen
        return {
            "result": self.sentence(),
            "method": chosen.name,
            "better_than_bicubic": self.is_better,
            "gain_db": _number(self.comparison.gain_db),
            "gain_db_by_group": {name: _number(value) for name, value in self.gains(chosen).items()},
            "held_out": {entry.name: self._entry(entry) for entry in self.comparison.candidates},
            "skipped": self.comparison.skipped,
            **({} if self.start is None else {"start": self.start.about()}),
            "scale": self.reduced.scale,
            "psf": self.reduced.psf.describe(self.reduced.scale),
            "regions": {
                "window": _corners(self.scene.window),
                "fit": None if self.regions.fit is None else _corners(self.regions.fit),
                "choose": _corners(self.regions.choose),
                "judge": _corners(self.regions.judge),
                "gap_pixels": self.regions.gap,
            },
            "bands": len(self.scene.values),
            "dropped_bands": list(self.scene.dropped),
            "valid_share": _number(float(self.scene.valid.mean())),
            "full_scale": self.scene.full_scale,
        }

    def _entry(self, entry: Candidate) -> dict[str, Any]:
        return {
            **{key: _number(entry.judge.metrics[key]) for key in _METRICS},
            "gain_db": _number(entry.judge.mpsnr_db - self.comparison.baseline.judge.mpsnr_db),
            "gain_db_by_group": {name: _number(value) for name, value in self.gains(entry).items()},
            "choose_mpsnr_db": _number(entry.choose.mpsnr_db),
            "seconds": _number(entry.seconds),
            **({"training": entry.note} if entry.note else {}),
        }


def _title(key: str) -> str:
    unit = METRIC[key].unit
    return METRIC[key].title + (f"\n{unit}" if unit else "")


def _number(value: float) -> float | None:
    """Return a number with the digits that mean something; None for one that JSON does not have."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _corners(box: Box) -> dict[str, list[int]]:
    return {"rows": [box.y0, box.y1], "columns": [box.x0, box.x1]}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
