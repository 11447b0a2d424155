"""The HTML report: one self-contained file with the answer, figures and viewers, and the figures as separate files."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup

from hsipipe.artifacts import DegradedPairs
from hsipipe.artifacts.registration import Registration
from hsipipe.evaluation import figures
from hsipipe.evaluation.comparison import undefined_notes
from hsipipe.evaluation.figure_rows import choose_rows
from hsipipe.evaluation.headline import headline
from hsipipe.evaluation.report_pictures import (
    Album,
    best_of,
    evidence,
    gains_of,
    overview,
    stills,
    thumbnails,
    uncertainty,
)
from hsipipe.evaluation.table import best_rows
from hsipipe.evaluation.verdicts import baseline_of, judge, marked
from hsipipe.evaluation.viewers import Viewer, make_viewer
from hsipipe.progress import duration, progress
from hsipipe.protocols.metrics import METRICS, Metric
from hsipipe.restoration import SUPER_RESOLUTION, TASKS
from hsipipe.viewer.page import PAGE_BYTES, assets, page_environment

MAX_SCENES = 6
"""Most scenes with large figures."""
MAX_VIEWERS = 16
"""Most scenes with thumbnails and a viewer."""
STILLS, SMALL = 1 / 3, 1 / 6
"""Largest share of the page that the figures of scenes take, and thumbnails, training curves or calibrations."""
_LEAST_FIGURED = 2
_Of = TypeVar("_Of")
_SPARE_BYTES = 50_000

_CEILINGS = {
    "pca-k-ceiling": "The truth projected on k principal components of the training scenes, as many as the method has "
    "numbers a pixel, or as there are bands: the bound of a linear representation of this size.",
    "ae-ceiling": "The truth through the autoencoder and back: the bound of its latent alone.",
    "latent-ceiling": "DMGASR with the true latent in place of the sampled one: the bound of a perfect latent network.",
    "subspace-ceiling": "fusion-fast with the truth's residual in its subspace: the bound of a perfect network.",
}
"""Meaning of each ceiling. The PCA row is not listed, because its name contains the number k."""

_PCA = re.compile(r"pca-\d+-ceiling")


@dataclass(frozen=True)
class Provenance:
    """The origin of the results.

    Attributes:
        commit: Commit of the source; None: unknown.
        changed: The source had changes that were not committed.
        registration: The registry's entry for the model; None: not known.
        run_id: Run of MLflow that registered it; None: not known.
        run_url: Page of the pipeline's run in the MLflow UI; empty: not known.
        run_command: Command that starts the UI at this address; empty: a server runs.
        date: When the report was written, in UTC as ISO 8601; empty: not known.
        seconds: Time from the start of the pipeline's run to the report; None: not known.
    """

    commit: str | None = None
    changed: bool = False
    registration: Registration | None = None
    run_id: str | None = None
    run_url: str = ""
    run_command: str = ""
    date: str = ""
    seconds: float | None = None

    @property
    def took(self) -> str:
        """The duration for people; empty: not known."""
        return "" if self.seconds is None else duration(self.seconds)


UNKNOWN = Provenance()


@dataclass
class _Parts:
    """The parts of the page.

    Attributes:
        overview: Figures of all scenes.
        uncertainty: Figures of each row with samples.
        thumbnails: Small pictures of each shown scene.
        details: Figures of scenes.
        training: Training curves.
        viewers: Viewers by scene.
    """

    overview: dict[str, str]
    uncertainty: list[dict[str, Any]]
    thumbnails: dict[str, list[dict[str, str]]]
    details: dict[str, dict[str, Any]]
    training: list[dict[str, Any]]
    viewers: dict[str, Viewer] = field(default_factory=dict)


def write_report(
    scores: Mapping[str, Path],
    metrics: Mapping[str, Any],
    out: Path,
    *,
    pairs: DegradedPairs,
    curves: Mapping[str, Path] | None = None,
    provenance: Provenance = UNKNOWN,
    most_bytes: int = PAGE_BYTES,
) -> dict[str, float | int | str]:
    """Write ``index.html`` and ``figures/*.png``.

    A page that would be too large has fewer figures, and viewers that show less; it names what was reduced.

    Args:
        scores: Folder of the scores of each row: images, error maps, spectra and cubes of the test scenes.
        metrics: The tree of metrics.json of the same rows.
        out: Existing empty folder.
        pairs: The test scenes.
        curves: CSV files of training curves by title.
        provenance: Commit, and what was registered.
        most_bytes: Largest size of the page.

    Returns:
        Number of scenes, figures and viewers, and the size of the page in bytes.

    Raises:
        MissingInputError: The scores of a row are missing.
    """
    album = Album(out / "figures")
    album.folder.mkdir()
    names = choose_scenes(metrics, list(metrics["scenes"]), MAX_VIEWERS)
    shown = choose_scenes(metrics, names)
    with progress("report", len(shown) + len(names) + 1) as advance:
        parts = _parts(album, scores, metrics, names, shown, curves or {}, advance)
        parts = _within(parts, metrics, most_bytes)
        names = list(parts.thumbnails)
        page = _render(metrics, parts, provenance, shown=names)
        share = (most_bytes - _SPARE_BYTES - len(page.encode())) // max(1, len(names))
        for name in names:
            viewer = make_viewer(pairs.look("test", name), scores, metrics, most_bytes=share)
            parts.viewers |= {} if viewer is None else {name: viewer}
            advance(note=f"viewer of {name}")
    page = _render(metrics, parts, provenance, shown=names)
    (out / "index.html").write_text(page, encoding="utf-8")
    numbers = {"scenes_shown": len(parts.details), "viewers": len(parts.viewers), "figures": album.count}
    return {**numbers, "html_bytes": len(page.encode())}


def _parts(
    album: Album,
    scores: Mapping[str, Path],
    metrics: Mapping[str, Any],
    names: Sequence[str],
    shown: Sequence[str],
    curves: Mapping[str, Path],
    advance: Any,
) -> _Parts:
    rows = {name: number for number, name in enumerate(choose_rows(metrics))}
    folders = [scores[name] for name in rows]
    best = headline(metrics).best
    pictures = overview(album, metrics, folders, rows)
    spread = uncertainty(album, metrics, scores)
    small = {name: thumbnails(name, scores, metrics, best) for name in names}
    advance()
    details = {}
    for name in shown:
        details[name] = stills(album, name, evidence(folders, name), metrics, rows)
        advance(note=name)
    drawn = [(title, figures.training_curves(path)) for title, path in curves.items()]
    training = [
        {"title": title, "file": f"curve-{title}.png", "src": album.add(figure, f"curve-{title}")}
        for title, figure in drawn
        if figure is not None
    ]
    return _Parts(pictures, spread, small, details, training)


def _within(parts: _Parts, metrics: Mapping[str, Any], most_bytes: int) -> _Parts:
    """Keep the pictures that fit into a page of `most_bytes`; the others lie in their files alone."""
    small = int(SMALL * most_bytes)
    thumbnails = _fitting(parts.thumbnails, metrics, small)
    shown = {name: picture for name, picture in parts.details.items() if name in thumbnails}
    return replace(
        parts,
        thumbnails=thumbnails,
        details=_fitting(shown, metrics, int(STILLS * most_bytes)),
        training=_first(parts.training, small),
        uncertainty=_first(parts.uncertainty, small),
    )


def _fitting(pictures: dict[str, _Of], metrics: Mapping[str, Any], most_bytes: int) -> dict[str, _Of]:
    """Choose scenes, two of them at least, whose pictures take at most `most_bytes`."""
    kept = list(pictures)
    while len(kept) > _LEAST_FIGURED and sum(len(str(pictures[name])) for name in kept) > most_bytes:
        kept = choose_scenes(metrics, list(pictures), len(kept) - 1)
    return {name: pictures[name] for name in kept}


def _first(entries: list[dict[str, Any]], most_bytes: int) -> list[dict[str, Any]]:
    """Empty the pictures, data URIs, of the entries beyond `most_bytes`."""
    left, found = most_bytes, []
    for entry in entries:
        pictures = {key: value for key, value in entry.items() if str(value).startswith("data:")}
        left -= sum(map(len, pictures.values()))
        found.append(entry if left >= 0 else entry | dict.fromkeys(pictures, ""))
    return found


def choose_scenes(metrics: Mapping[str, Any], names: Sequence[str], limit: int = MAX_SCENES) -> list[str]:
    """Choose the scenes that are shown: all, or `limit` of them in even steps from smallest to largest gain."""
    if len(names) <= limit:
        return list(names)
    gains = gains_of(metrics)
    main = gains[best_of(metrics, gains)] if gains else {}
    # A gain that is not finite cannot be ranked and hints at an error, so its scene is shown first.
    known = {name: gain for name, gain in main.items() if math.isfinite(gain)}
    ranked = sorted(names, key=lambda name: (known.get(name, -math.inf), name))
    return [ranked[round(step * (len(ranked) - 1) / (limit - 1))] for step in range(limit)]


def _render(metrics: Mapping[str, Any], parts: _Parts, provenance: Provenance, *, shown: Sequence[str]) -> str:
    template = page_environment().from_string(_text("report.html.j2"))
    own = assets(_text("report.css"))
    models = metrics["models"]
    columns, sample_columns = _columns(models), [metric for metric in METRICS if metric.of_samples]
    results = {name: row for name, row in models.items() if row["kind"] != "ceiling"}
    frame = dict(metrics["protocol"]["fields"])
    return template.render(
        frame=frame,
        task=TASKS[frame.get("degradation.task", SUPER_RESOLUTION)].title,
        headline=headline(metrics),
        provenance=provenance,
        fault=metrics.get("faults", {}).get(getattr(provenance.registration, "method", None), ""),
        baseline=baseline_of(metrics),
        verdicts=judge(metrics),
        tables=[
            _table("Mean over the test scenes", models, columns, metrics),
            *(_table(name, rows, columns, metrics) for name, rows in metrics["scenes"].items()),
        ],
        columns=columns,
        sample_columns=sample_columns,
        sample_table=_table("Uncertainty", results, sample_columns, metrics),
        protocol=metrics["protocol"],
        test_set=metrics.get("test_set", []),
        undefined=undefined_notes(metrics),
        definitions=_definitions(frame, columns + (sample_columns if parts.uncertainty else [])),
        overview=parts.overview,
        skipped=[name for name in results if name not in choose_rows(metrics)],
        uncertainty=parts.uncertainty,
        shown=shown,
        thumbnails=parts.thumbnails,
        details=parts.details,
        viewers=parts.viewers,
        data={name: Markup(viewer.data) for name, viewer in parts.viewers.items()},
        training=parts.training,
        rows=_rows(metrics),
        scenes=len(metrics["scenes"]),
        style=own.style,
        script=own.script,
        policy=own.policy,
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _definitions(frame: Mapping[str, Any], columns: Sequence[Metric]) -> list[tuple[str, str]]:
    """Title and definition of every shown metric, as the protocol defines it."""
    return [(metric.title, frame.get(f"metrics.{metric.key}", metric.definition)) for metric in columns]


def _columns(models: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """The metrics that at least one row has, without those of samples, which have a table of their own."""
    return [metric for metric in METRICS if not metric.of_samples and any(metric.key in row for row in models.values())]


def _rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and meaning of each row."""
    known = {name: _CEILINGS.get(_PCA.sub("pca-k-ceiling", name.partition(" (")[0])) for name in metrics["models"]}
    texts = [(name, metrics["descriptions"].get(name) or text) for name, text in known.items()]
    return [(name, text) for name, text in texts if text]


def _table(
    title: str,
    rows: Mapping[str, Mapping[str, Any]],
    columns: Sequence[Metric],
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """Format cells as text, ceilings last."""
    with_kind = {name: {**row, "kind": metrics["models"][name]["kind"]} for name, row in rows.items()}
    best = best_rows(with_kind, leave_out=metrics.get("faults", {}))
    ordered = sorted(with_kind, key=lambda name: with_kind[name]["kind"] == "ceiling")
    return {
        "title": title,
        "rows": [
            {
                "name": marked(metrics, name),
                "kind": with_kind[name]["kind"],
                "cells": [
                    (column.text(with_kind[name].get(column.key)), name in best.get(column.key, ()))
                    for column in columns
                ],
            }
            for name in ordered
        ],
    }
