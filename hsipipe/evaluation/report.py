"""The HTML report: one file that can be mailed, with every picture inside it, and the pictures beside it."""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from hsipipe.artifacts import Evaluation
from hsipipe.bands import band_label
from hsipipe.errors import DataError
from hsipipe.evaluation import figures, spread_figures
from hsipipe.evaluation.calibration import UNCERTAINTY_DEFINITIONS, sentence
from hsipipe.evaluation.evidence import SceneEvidence, read_index
from hsipipe.evaluation.table import best_rows
from hsipipe.evaluation.verdicts import baseline_of, judge
from hsipipe.progress import progress
from hsipipe.protocols import require_same
from hsipipe.protocols.metrics import METRIC, METRICS, MISSING, Metric
from hsipipe.restoration import SUPER_RESOLUTION, TASKS

MAX_SCENES = 6

_ROWS = {
    "sfim": "Smoothing filter-based intensity modulation of both images; needs no training.",
    "gsa": "Gram-Schmidt adaptive component substitution of both images; needs no training.",
    "cnmf": "Coupled non-negative matrix factorisation of both images; needs no training.",
    "hysure": "A subspace of the LR-HSI with vector total variation, from both images; needs no training.",
    "regression": "The control: the same network trained as long as the diffusion, as a one-step regression.",
    "pca-residual": "A control: a plain residual network on principal components of the input.",
    "residual-fusion": "A control: a plain residual network on the interpolated LR-HSI and the HR-MSI.",
    "pca-k-ceiling": "The truth projected on k principal components of the training scenes, as many as the model has "
    "numbers a pixel, or as there are bands: what a linear representation of this size holds.",
    "ae-ceiling": "The truth through the autoencoder and back: what its latent holds by itself.",
    "latent-ceiling": "The model's own decoding of LR input and true latent in place of the sampled one: what a "
    "perfect latent network would reach.",
    "subspace-ceiling": "The model's start and the truth's residual in the subspace of the LR-HSI: what a perfect "
    "network would reach.",
}
"""What a row is that does not speak for itself; the k of the PCA's row is a number."""

_PCA = re.compile(r"pca-\d+-ceiling")


def write_report(
    evaluation: Evaluation, metrics: Mapping[str, Any], out: Path, *, curves: Sequence[Path] = ()
) -> dict[str, float | int | str]:
    """Write ``index.html`` and ``figures/*.png``.

    Args:
        evaluation: Pictures, error maps and spectra of the test scenes.
        metrics: The tree of metrics.json of the same evaluation.
        out: Existing empty folder.
        curves: CSV files of training curves, titled by their file name.

    Returns:
        How many scenes and figures are shown, and the size of the page in bytes.

    Raises:
        DataError: The numbers are of another evaluation than the pictures.
        MissingInputError: The evaluation is not there.
    """
    index = read_index(evaluation.path)
    _require_same_evaluation(index, metrics)
    rows = {name: number for number, name in enumerate(index["rows"])}
    shown = choose_scenes(metrics, index["scenes"])
    (out / "figures").mkdir()
    album = _Album(out / "figures")
    with progress("report", len(shown) + 1) as advance:
        overview = _overview(album, metrics, evaluation.path, rows)
        uncertainty = _uncertainty(album, metrics, evaluation.path)
        advance()
        details = []
        for name in shown:
            scene = _evidence(evaluation.path, name)
            details.append(_scene(album, name, scene, metrics, rows, kinds=index["pixels"]))
            advance(note=name)
    drawn = [(path, figures.training_curves(path)) for path in curves]
    training = [
        {"title": path.stem.replace("_", " "), "src": album.add(figure, f"curve-{path.stem}")}
        for path, figure in drawn
        if figure is not None
    ]
    page = _render(metrics, overview=overview, uncertainty=uncertainty, details=details, training=training)
    (out / "index.html").write_text(page, encoding="utf-8")
    return {"scenes_shown": len(shown), "figures": album.count, "html_bytes": len(page.encode())}


def choose_scenes(metrics: Mapping[str, Any], names: Sequence[str], limit: int = MAX_SCENES) -> list[str]:
    """Scenes shown in detail: all, or `limit` of them in even steps from the smallest gain to the largest."""
    if len(names) <= limit:
        return list(names)
    gains = _gains(metrics)
    main = gains[list(gains)[-1]] if gains else {}
    # A gain that is not finite has no place in the order; it is shown first, since something is wrong with it.
    known = {name: gain for name, gain in main.items() if math.isfinite(gain)}
    ranked = sorted(names, key=lambda name: (known.get(name, -math.inf), name))
    return [ranked[round(step * (len(ranked) - 1) / (limit - 1))] for step in range(limit)]


class _Album:
    """Saves figures and hands them out as data URIs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def add(self, figure: Figure, name: str) -> str:
        path = self.folder / f"{name}.png"
        figures.save(figure, path)
        self.count += 1
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _evidence(folder: Path, name: str) -> SceneEvidence:
    return SceneEvidence.load(folder / f"{name}.npz")


def _overview(album: _Album, metrics: Mapping[str, Any], folder: Path, rows: Mapping[str, int]) -> dict[str, str]:
    loaded = (_evidence(folder, name) for name in metrics["scenes"])
    curves = [(scene.band_psnr_db, scene.wavelength_nm) for scene in loaded]
    mean = np.mean([values for values, _ in curves], axis=0)
    pictures = {"bands": album.add(figures.band_psnr(mean, curves[0][1], rows), "band-psnr")}
    gains = _gains(metrics)
    if gains:
        main = gains[list(gains)[-1]]
        ranked = sorted(main, key=lambda name: (-np.nan_to_num(main[name]), name))
        ordered = {row: {name: values[name] for name in ranked} for row, values in gains.items()}
        pictures["gain"] = album.add(figures.gain_bars(ordered, over=str(baseline_of(metrics["models"]))), "gain")
    return pictures


def _uncertainty(album: _Album, metrics: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Calibration of each row that is the mean of several samples."""
    drawn = []
    for number, (name, values) in enumerate(metrics.get("uncertainty", {}).items()):
        scenes = {scene: _evidence(folder, scene).calibration[number] for scene in metrics["scenes"]}
        figure = spread_figures.calibration(np.sum(list(scenes.values()), axis=0), scenes)
        numbers = [(text, _number(values[key])) for key, text in UNCERTAINTY_DEFINITIONS.items()]
        src = album.add(figure, f"calibration-{name}")
        drawn.append({"row": name, "sentence": sentence(values), "src": src, "numbers": numbers})
    return drawn


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"


def _scene(
    album: _Album,
    name: str,
    scene: SceneEvidence,
    metrics: Mapping[str, Any],
    rows: Mapping[str, int],
    *,
    kinds: Sequence[str],
) -> dict[str, Any]:
    values = metrics["scenes"][name]
    psnr, sam = METRIC["mpsnr_db"], METRIC["sam_deg"]
    captions = {row: f"{psnr.text(values[row][psnr.key])} dB, {sam.text(values[row][sam.key])}°" for row in rows}
    return {
        "name": name,
        "bands": ", ".join(_band(scene, int(band)) for band in scene.display_bands),
        "images": album.add(figures.image_strip(scene, rows, captions), f"{name}-images"),
        "errors": album.add(figures.error_maps(scene, rows, captions), f"{name}-errors"),
        "spectra": album.add(figures.spectra(scene, rows, kinds), f"{name}-spectra"),
        "spreads": [
            {"row": row, "src": album.add(spread_figures.spread_maps(scene, number), f"{name}-spread-{row}")}
            for number, row in enumerate(list(rows)[index] for index in scene.spread_rows)
        ],
    }


def _band(scene: SceneEvidence, band: int) -> str:
    wavelength = scene.wavelength_nm[band]
    return f"{wavelength:.0f} nm" if math.isfinite(wavelength) else band_label(band)


def _gains(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """MPSNR over the baseline in dB: row to scene; rows that are no ceiling, the models last."""
    baseline = baseline_of(metrics["models"])
    if baseline is None:
        return {}
    order = {"baseline": 0, "control": 1, "model": 2}
    names = [name for name, row in metrics["models"].items() if name != baseline and row["kind"] in order]
    names.sort(key=lambda name: order[metrics["models"][name]["kind"]])
    gains: dict[str, dict[str, float]] = {name: {} for name in names}
    for scene, values in metrics["scenes"].items():
        for name in names:
            pair = (values[name]["mpsnr_db"], values.get(baseline, {}).get("mpsnr_db"))
            gains[name][scene] = pair[0] - pair[1] if None not in pair else math.nan
    return gains


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
    columns = _columns(models)
    frame = dict(metrics["protocol"]["fields"])
    return template.render(
        frame=frame,
        task=TASKS[frame.get("degradation.task", SUPER_RESOLUTION)].title,
        baseline=baseline_of(models),
        verdicts=judge(metrics),
        tables=[
            _table("Mean over the test scenes", models, columns),
            *(_table(name, rows, columns, kinds=models) for name, rows in metrics["scenes"].items()),
        ],
        columns=columns,
        protocol=metrics["protocol"],
        test_set=metrics.get("test_set", []),
        definitions=_definitions(frame, columns),
        overview=overview,
        uncertainty=uncertainty,
        details=details,
        training=training,
        rows=_rows(models),
        scenes=len(metrics["scenes"]),
    )


def _definitions(frame: Mapping[str, Any], columns: Sequence[Metric]) -> list[tuple[str, str]]:
    """Title and definition of every metric that is shown, as the protocol has it."""
    return [(metric.title, frame.get(f"metrics.{metric.key}", metric.definition)) for metric in columns]


def _columns(models: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """The metrics that a row has."""
    return [metric for metric in METRICS if any(metric.key in row for row in models.values())]


def _rows(models: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name and meaning of the rows that do not speak for themselves."""
    texts = [(name, _ROWS.get(_PCA.sub("pca-k-ceiling", name))) for name in models]
    return [(name, text) for name, text in texts if text is not None]


def _table(
    title: str,
    rows: Mapping[str, Mapping[str, Any]],
    columns: Sequence[Metric],
    kinds: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Cells as text, ceilings last."""
    with_kind = {name: {**row, "kind": (kinds or rows)[name]["kind"]} for name, row in rows.items()}
    best = best_rows(with_kind)
    ordered = sorted(with_kind, key=lambda name: with_kind[name]["kind"] == "ceiling")
    return {
        "title": title,
        "rows": [
            {
                "name": name,
                "kind": with_kind[name]["kind"],
                "cells": [
                    (column.text(with_kind[name].get(column.key)), best.get(column.key) == name) for column in columns
                ],
            }
            for name in ordered
        ],
    }


def _require_same_evaluation(index: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    require_same(index["protocol"], metrics["protocol"])
    pictured = (sorted(index["rows"]), sorted(index["scenes"]))
    models = metrics["models"]
    counted = (
        sorted(name for name in models if models[name]["kind"] != "ceiling"),
        sorted(metrics["scenes"]),
    )
    if pictured != counted:
        raise DataError(
            f"The pictures are of rows and scenes {pictured}, the numbers of {counted}: "
            "they come from different evaluations; run the stage evaluate again."
        )
