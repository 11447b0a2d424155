"""The pictures of the report: figures as files and data URIs, and thumbnails of the scenes."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hsipipe.bands import band_label
from hsipipe.evaluation import figures, spread_figures
from hsipipe.evaluation.calibration import UNCERTAINTY_DEFINITIONS, sentence
from hsipipe.evaluation.evidence import PIXEL_KINDS, SceneEvidence
from hsipipe.evaluation.figure_rows import colours
from hsipipe.evaluation.verdicts import baseline_of
from hsipipe.evaluation.viewers import INPUT, INTERPOLATION
from hsipipe.protocols.metrics import METRIC, MISSING
from hsipipe.viewer.page import picture_src

_THUMBNAIL_PX = 192


class Album:
    """Saves figures and returns them as data URIs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def add(self, figure: Figure, name: str) -> str:
        """Save a figure and return its data URI."""
        path = self.folder / f"{name}.png"
        figures.save(figure, path)
        self.count += 1
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def evidence(folders: Sequence[Path], name: str) -> SceneEvidence:
    """Load a scene with the rows of these folders."""
    return SceneEvidence.together([SceneEvidence.load(folder / f"{name}.npz") for folder in folders])


def overview(
    album: Album, metrics: Mapping[str, Any], folders: Sequence[Path], rows: Mapping[str, int]
) -> dict[str, str]:
    """Draw the figures of all scenes together; return them by their kind."""
    loaded = (evidence(folders, name) for name in metrics["scenes"])
    curves = [(scene.band_psnr_db, scene.wavelength_nm) for scene in loaded]
    mean = np.mean([values for values, _ in curves], axis=0)
    pictures = {"methods": album.add(figures.method_dots(metrics), "methods")}
    pictures |= {"bands": album.add(figures.band_psnr(mean, curves[0][1], rows), "band-psnr")}
    gains = {row: values for row, values in gains_of(metrics).items() if row in rows}
    if gains:
        main = gains[best_of(metrics, gains)]
        ranked = sorted(main, key=lambda name: (-np.nan_to_num(main[name]), name))
        ordered = {row: {name: values[name] for name in ranked} for row, values in gains.items()}
        bars = figures.gain_bars(ordered, over=str(baseline_of(metrics)), tints=colours(rows))
        pictures["gain"] = album.add(bars, "gain")
    return pictures


def uncertainty(album: Album, metrics: Mapping[str, Any], scores: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Calibration of each row with samples."""
    drawn = []
    for name, values in metrics.get("uncertainty", {}).items():
        scenes = {scene: evidence([scores[name]], scene).calibration[0] for scene in metrics["scenes"]}
        figure = spread_figures.calibration(np.sum(list(scenes.values()), axis=0), scenes)
        numbers = [(text, _number(values[key])) for key, text in UNCERTAINTY_DEFINITIONS.items()]
        pictures = {"src": album.add(figure, f"calibration-{name}")}
        pictures["reliability"] = album.add(spread_figures.reliability(values), f"reliability-{name}")
        names = [f"calibration-{name}.png", f"reliability-{name}.png"]
        drawn.append({"row": name, "sentence": sentence(values), "numbers": numbers, "files": names, **pictures})
    return drawn


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3g}"


def stills(
    album: Album,
    name: str,
    scene: SceneEvidence,
    metrics: Mapping[str, Any],
    rows: Mapping[str, int],
) -> dict[str, Any]:
    """Draw the figures of a scene; return them by their kind."""
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


def thumbnails(
    name: str, scores: Mapping[str, Path], metrics: Mapping[str, Any], best: str | None
) -> list[dict[str, str]]:
    """Make small pictures of a scene: interpolation, best row, truth; of no interpolation its input."""
    psnr, sam = METRIC["mpsnr_db"], METRIC["sam_deg"]
    values = metrics["scenes"][name]
    rows = [row for row in dict.fromkeys((INTERPOLATION, best)) if row is not None and row in scores]
    seen = evidence([scores[row] for row in rows or list(scores)[:1]], name)
    images = {} if INTERPOLATION in rows else {INPUT: seen.lr_rgb}
    images |= {row: seen.rgb[number] for number, row in enumerate(rows)}
    texts = {row: f"{psnr.text(values[row][psnr.key])} dB, {sam.text(values[row][sam.key])}°" for row in rows}
    images["truth"] = seen.hr_rgb
    return [
        {"src": picture_src(image, _THUMBNAIL_PX), "title": title, "numbers": texts.get(title, "")}
        for title, image in images.items()
    ]


def gains_of(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """MPSNR gain over the first row in dB, by row and scene; without ceilings."""
    baseline = baseline_of(metrics)
    names = [name for name, row in metrics["models"].items() if name != baseline and row["kind"] != "ceiling"]
    gains: dict[str, dict[str, float]] = {name: {} for name in names}
    for scene, values in metrics["scenes"].items():
        for name in names:
            pair = (values[name]["mpsnr_db"], values[baseline]["mpsnr_db"])
            gains[name][scene] = math.nan if None in pair else pair[0] - pair[1]
    return gains


def best_of(metrics: Mapping[str, Any], names: Iterable[str]) -> str:
    """The row with the highest MPSNR; one whose training was not completed only if there is no other."""
    faults = metrics.get("faults", {})
    return max(names, key=lambda name: (name not in faults, metrics["models"][name]["mpsnr_db"] or -math.inf))
