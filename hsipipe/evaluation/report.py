"""The HTML report: one self-contained file with all figures embedded, and the figures as separate files."""

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from hsipipe.bands import band_label
from hsipipe.evaluation import figures, spread_figures
from hsipipe.evaluation.calibration import UNCERTAINTY_DEFINITIONS, sentence
from hsipipe.evaluation.evidence import PIXEL_KINDS, SceneEvidence
from hsipipe.evaluation.figure_rows import choose_rows, colours
from hsipipe.evaluation.table import best_rows
from hsipipe.evaluation.verdicts import baseline_of, judge, marked
from hsipipe.progress import progress
from hsipipe.protocols.metrics import METRIC, METRICS, MISSING, Metric
from hsipipe.restoration import SUPER_RESOLUTION, TASKS

MAX_SCENES = 6

_CEILINGS = {
    "pca-k-ceiling": "The truth projected on k principal components of the training scenes, as many as the method has "
    "numbers a pixel, or as there are bands: the bound of a linear representation of this size.",
    "ae-ceiling": "The truth through the autoencoder and back: the bound of its latent alone.",
    "latent-ceiling": "DMGASR with the true latent in place of the sampled one: the bound of a perfect latent network.",
    "subspace-ceiling": "fusion-fast with the truth's residual in its subspace: the bound of a perfect network.",
}
"""Meaning of each ceiling. The PCA row is not listed, because its name contains the number k."""

_PCA = re.compile(r"pca-\d+-ceiling")


def write_report(
    scores: Mapping[str, Path], metrics: Mapping[str, Any], out: Path, *, curves: Mapping[str, Path] | None = None
) -> dict[str, float | int | str]:
    """Write ``index.html`` and ``figures/*.png``.

    Args:
        scores: Folder of the scores of each row: images, error maps and spectra of the test scenes.
        metrics: The tree of metrics.json of the same rows.
        out: Existing empty folder.
        curves: CSV files of training curves by title.

    Returns:
        Number of scenes and figures, and the size of the page in bytes.

    Raises:
        MissingInputError: The scores of a row are missing.
    """
    pictured = choose_rows(metrics)
    rows = {name: number for number, name in enumerate(pictured)}
    folders = [scores[name] for name in pictured]
    shown = choose_scenes(metrics, list(metrics["scenes"]))
    (out / "figures").mkdir()
    album = _Album(out / "figures")
    with progress("report", len(shown) + 1) as advance:
        overview = _overview(album, metrics, folders, rows)
        uncertainty = _uncertainty(album, metrics, scores)
        advance()
        details = []
        for name in shown:
            details.append(_scene(album, name, _evidence(folders, name), metrics, rows))
            advance(note=name)
    drawn = [(title, figures.training_curves(path)) for title, path in (curves or {}).items()]
    training = [
        {"title": title, "src": album.add(figure, f"curve-{title}")} for title, figure in drawn if figure is not None
    ]
    page = _render(metrics, overview=overview, uncertainty=uncertainty, details=details, training=training)
    (out / "index.html").write_text(page, encoding="utf-8")
    return {"scenes_shown": len(shown), "figures": album.count, "html_bytes": len(page.encode())}


def choose_scenes(metrics: Mapping[str, Any], names: Sequence[str], limit: int = MAX_SCENES) -> list[str]:
    """Choose the scenes shown in detail: all, or `limit` of them in even steps from smallest to largest gain."""
    if len(names) <= limit:
        return list(names)
    gains = _gains(metrics)
    main = gains[_best(metrics, gains)] if gains else {}
    # A gain that is not finite cannot be ranked and hints at an error, so its scene is shown first.
    known = {name: gain for name, gain in main.items() if math.isfinite(gain)}
    ranked = sorted(names, key=lambda name: (known.get(name, -math.inf), name))
    return [ranked[round(step * (len(ranked) - 1) / (limit - 1))] for step in range(limit)]


class _Album:
    """Saves figures and returns them as data URIs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def add(self, figure: Figure, name: str) -> str:
        path = self.folder / f"{name}.png"
        figures.save(figure, path)
        self.count += 1
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _evidence(folders: Sequence[Path], name: str) -> SceneEvidence:
    """Load a scene with the rows of these folders."""
    return SceneEvidence.together([SceneEvidence.load(folder / f"{name}.npz") for folder in folders])


def _overview(
    album: _Album, metrics: Mapping[str, Any], folders: Sequence[Path], rows: Mapping[str, int]
) -> dict[str, str]:
    loaded = (_evidence(folders, name) for name in metrics["scenes"])
    curves = [(scene.band_psnr_db, scene.wavelength_nm) for scene in loaded]
    mean = np.mean([values for values, _ in curves], axis=0)
    pictures = {"methods": album.add(figures.method_dots(metrics), "methods")}
    pictures |= {"bands": album.add(figures.band_psnr(mean, curves[0][1], rows), "band-psnr")}
    gains = {row: values for row, values in _gains(metrics).items() if row in rows}
    if gains:
        main = gains[_best(metrics, gains)]
        ranked = sorted(main, key=lambda name: (-np.nan_to_num(main[name]), name))
        ordered = {row: {name: values[name] for name in ranked} for row, values in gains.items()}
        bars = figures.gain_bars(ordered, over=str(baseline_of(metrics)), tints=colours(rows))
        pictures["gain"] = album.add(bars, "gain")
    return pictures


def _uncertainty(album: _Album, metrics: Mapping[str, Any], scores: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Calibration of each row with samples."""
    drawn = []
    for name, values in metrics.get("uncertainty", {}).items():
        scenes = {scene: _evidence([scores[name]], scene).calibration[0] for scene in metrics["scenes"]}
        figure = spread_figures.calibration(np.sum(list(scenes.values()), axis=0), scenes)
        numbers = [(text, _number(values[key])) for key, text in UNCERTAINTY_DEFINITIONS.items()]
        pictures = {"src": album.add(figure, f"calibration-{name}")}
        pictures["reliability"] = album.add(spread_figures.reliability(values), f"reliability-{name}")
        drawn.append({"row": name, "sentence": sentence(values), "numbers": numbers, **pictures})
    return drawn


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"


def _scene(
    album: _Album,
    name: str,
    scene: SceneEvidence,
    metrics: Mapping[str, Any],
    rows: Mapping[str, int],
) -> dict[str, Any]:
    values = metrics["scenes"][name]
    psnr, sam = METRIC["mpsnr_db"], METRIC["sam_deg"]
    captions = {row: f"{psnr.text(values[row][psnr.key])} dB, {sam.text(values[row][sam.key])}°" for row in rows}
    return {
        "name": name,
        "bands": ", ".join(_band(scene, int(band)) for band in scene.display_bands),
        "images": album.add(figures.image_strip(scene, rows, captions), f"{name}-images"),
        "errors": album.add(figures.error_maps(scene, rows, captions), f"{name}-errors"),
        "spectra": album.add(figures.spectra(scene, rows, PIXEL_KINDS), f"{name}-spectra"),
        "power": album.add(spread_figures.power_spectra(scene, rows), f"{name}-power"),
        "spreads": [
            {
                "row": row,
                "src": album.add(spread_figures.spread_maps(scene, number), f"{name}-spread-{row}"),
                "samples": album.add(spread_figures.sample_strip(scene, number), f"{name}-samples-{row}"),
            }
            for number, row in enumerate(list(rows)[index] for index in scene.spread_rows)
        ],
    }


def _band(scene: SceneEvidence, band: int) -> str:
    wavelength = scene.wavelength_nm[band]
    return f"{wavelength:.0f} nm" if math.isfinite(wavelength) else band_label(band)


def _gains(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """MPSNR gain over the first row in dB, by row and scene; without ceilings."""
    baseline = baseline_of(metrics)
    names = [name for name, row in metrics["models"].items() if name != baseline and row["kind"] != "ceiling"]
    gains: dict[str, dict[str, float]] = {name: {} for name in names}
    for scene, values in metrics["scenes"].items():
        for name in names:
            pair = (values[name]["mpsnr_db"], values[baseline]["mpsnr_db"])
            gains[name][scene] = math.nan if None in pair else pair[0] - pair[1]
    return gains


def _best(metrics: Mapping[str, Any], names: Iterable[str]) -> str:
    """The row with the highest MPSNR."""
    return max(names, key=lambda name: metrics["models"][name]["mpsnr_db"] or -math.inf)


def _render(
    metrics: Mapping[str, Any],
    *,
    overview: Mapping[str, str],
    uncertainty: Sequence[Mapping[str, Any]],
    details: Sequence[Mapping[str, Any]],
    training: Sequence[Mapping[str, str]],
) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    models = metrics["models"]
    columns, sample_columns = _columns(models), [metric for metric in METRICS if metric.of_samples]
    results = {name: row for name, row in models.items() if row["kind"] != "ceiling"}
    frame = dict(metrics["protocol"]["fields"])
    return template.render(
        frame=frame,
        task=TASKS[frame.get("degradation.task", SUPER_RESOLUTION)].title,
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
        definitions=_definitions(frame, columns + (sample_columns if uncertainty else [])),
        overview=overview,
        skipped=[name for name, row in models.items() if row["kind"] != "ceiling" and name not in choose_rows(metrics)],
        uncertainty=uncertainty,
        details=details,
        training=training,
        rows=_rows(metrics),
        scenes=len(metrics["scenes"]),
    )


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
                    (column.text(with_kind[name].get(column.key)), best.get(column.key) == name) for column in columns
                ],
            }
            for name in ordered
        ],
    }
