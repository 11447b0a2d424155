"""The figures of the report. Each function returns a new Figure; there is no global plotting state.

Within a scene all images share one stretch and all error maps one colour scale, so that the display cannot
favour a row.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.evaluation.figure_rows import OTHER, choose_rows, colours

if TYPE_CHECKING:
    from hsipipe.evaluation.evidence import SceneEvidence

_TRUTH = "#000000"
WIDTH = 12.0
_TALLEST = 14.0
_FEW = 30
_UNITS = {"db": "dB", "layers": "layers"}
"""Unit of a column of the training curves by the end of its name; any other column is a loss."""
_DECADES = 20


def image_strip(scene: "SceneEvidence", rows: Mapping[str, int], captions: Mapping[str, str]) -> Figure:
    """Show false-colour images of input, rows and truth; below each, the same detail enlarged.

    Args:
        scene: The scene.
        rows: Names to show, with their indices in the arrays of `scene`.
        captions: Second line of a row's title.
    """
    images = [("LR input" if scene.lr_rgb.shape != scene.hr_rgb.shape else "input", scene.lr_rgb)]
    images += [(f"{name}\n{captions.get(name, '')}".strip(), scene.rgb[index]) for name, index in rows.items()]
    images.append(("HR truth", scene.hr_rgb))
    height, width = (int(scene.step) * size for size in scene.hr_rgb.shape[:2])
    top, left, tall, wide = (int(value) for value in scene.detail)
    panel = WIDTH / len(images)
    rise = panel * height / width
    figure = new_figure(WIDTH, rise + panel * tall / wide + 0.5, layout="compressed")
    ratios = [height / width, tall / wide]
    axes = figure.subplots(2, len(images), height_ratios=ratios, squeeze=False)
    for column, (title, image) in enumerate(images):
        for axis in axes[:, column]:
            axis.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
            axis.set_axis_off()
        axes[0, column].set_title(title, fontsize=10)
        frame = Rectangle((left, top), wide, tall, fill=False, edgecolor="white", linewidth=1.2)
        # A white frame alone is invisible on a bright roof.
        frame.set_path_effects([withStroke(linewidth=3, foreground="#333333")])
        axes[0, column].add_patch(frame)
        axes[1, column].set_xlim(left, left + wide)
        axes[1, column].set_ylim(top + tall, top)
    return figure


def error_maps(scene: "SceneEvidence", rows: Mapping[str, int], captions: Mapping[str, str]) -> Figure:
    """Show the mean absolute error per pixel of each row; the shared colour scale ends at the 99.5th percentile."""
    maps = scene.error[list(rows.values())].astype(np.float32)
    top = float(np.nanpercentile(maps, 99.5)) or 1e-6
    height, width = maps.shape[1:]
    figure = new_figure(WIDTH, WIDTH / len(rows) * height / width * 0.9 + 0.6, layout="compressed")
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    for axis, name, values in zip(axes, rows, maps, strict=True):
        image = axis.imshow(values, cmap=error_colours(), vmin=0, vmax=top, interpolation="nearest")
        axis.set_title(f"{name}\n{captions.get(name, '')}".strip(), fontsize=10)
        axis.set_axis_off()
    bar = figure.colorbar(image, ax=list(axes), extend="max", fraction=0.05, pad=0.01)
    bar.set_label("mean |error| over bands\n(full range 1)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def error_colours() -> Colormap:
    """Return the colours of error maps; pixels without data are grey, as in the pictures."""
    return colormaps["magma"].with_extremes(bad=(0.5, 0.5, 0.5))


def spectra(scene: "SceneEvidence", rows: Mapping[str, int], kinds: Sequence[str]) -> Figure:
    """Plot the spectra of the chosen pixels, and mark the pixels in the image."""
    figure = new_figure(WIDTH, 5.2)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.75), squeeze=False)[0]
    picture = left.subplots()
    height, width = (int(scene.step) * size for size in scene.hr_rgb.shape[:2])
    picture.imshow(scene.hr_rgb, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
    picture.set_axis_off()
    picture.set_title("HR truth", fontsize=10)
    axes = right.subplots(2, 2, sharex=True).ravel()
    band, label = _band_axis(scene.wavelength_nm)
    tints = colours(rows)
    for number, (axis, (y, x), kind) in enumerate(zip(axes, scene.pixels, kinds, strict=True), start=1):
        _mark(picture, number, y=int(y), x=int(x))
        axis.plot(band, scene.hr_spectra[number - 1], color=_TRUTH, linewidth=2.2, label="HR truth")
        for name, index in rows.items():
            axis.plot(band, scene.spectra[index, number - 1], color=tints[name], linewidth=1.3, label=name)
        axis.set_title(f"{number}: {kind} (row {y}, column {x})", fontsize=9)
        axis.set_ylim(bottom=min(0.0, float(axis.get_ylim()[0])))
        quiet(axis)
    for axis in axes[2:]:
        axis.set_xlabel(label, fontsize=9)
    for axis in axes[::2]:
        axis.set_ylabel("value (full range 1)", fontsize=9)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower right",
        ncols=len(rows) + 1,
        fontsize=9,
        frameon=False,
    )
    return figure


def band_psnr(values: NDArray[np.floating[Any]], wavelength_nm: NDArray[np.float64], rows: Mapping[str, int]) -> Figure:
    """Plot PSNR over wavelength; bands without any error, whose PSNR is infinite, are skipped.

    Args:
        values: PSNR in dB of each row and band, (R, C).
        wavelength_nm: Band centres (C,), NaN where unknown.
        rows: Names to show, with their indices in `values`.
    """
    figure = new_figure(9, 3.6)
    axis = figure.subplots()
    band, label = _band_axis(wavelength_nm)
    tints = colours(rows)
    for name, index in rows.items():
        curve = np.where(np.isfinite(values[index]), values[index], np.nan)
        axis.plot(band, curve, color=tints[name], linewidth=1.8, marker="o", markersize=2.5, label=name)
    axis.set_xlabel(label, fontsize=9)
    axis.set_ylabel("PSNR (dB)", fontsize=9)
    axis.legend(fontsize=9, frameon=False)
    quiet(axis)
    return figure


def gain_bars(gains: Mapping[str, Mapping[str, float]], *, over: str, tints: Mapping[str, str]) -> Figure:
    """Plot the MPSNR gain over the baseline, one group of bars per scene.

    Args:
        gains: Row name to scene to dB.
        over: Name of the baseline.
        tints: Colour of each row.
    """
    scenes = list(next(iter(gains.values())))
    thick = 0.8 / len(gains)
    figure = new_figure(9, 1.1 + 0.34 * len(scenes) * max(1.0, 0.6 * len(gains)))
    axis = figure.subplots()
    place = np.arange(len(scenes))
    for index, (name, values) in enumerate(gains.items()):
        lengths = [values[scene] for scene in scenes]
        bars = axis.barh(place + (index - (len(gains) - 1) / 2) * thick, lengths, thick, color=tints[name], label=name)
        axis.bar_label(bars, fmt="%+.2f", fontsize=8, padding=3)
    axis.axvline(0, color="#333333", linewidth=1)
    axis.set_yticks(place, scenes, fontsize=9)
    axis.invert_yaxis()
    axis.margins(x=0.15, y=0.01)
    axis.set_xlabel(f"MPSNR over {over} (dB)", fontsize=9)
    figure.legend(loc="outside upper right", ncols=len(gains), fontsize=9, frameon=False)
    quiet(axis, grid="x")
    return figure


def method_dots(metrics: Mapping[str, Any]) -> Figure:
    """Plot MPSNR and SAM of every method, with whiskers of one standard deviation where there are several seeds.

    Args:
        metrics: The tree of metrics.json.
    """
    rows = {name: row for name, row in metrics["models"].items() if row["kind"] != "ceiling"}
    figure = new_figure(9, 1.2 + 0.32 * len(rows))
    place, tints = np.arange(len(rows)), colours(choose_rows(metrics))
    for axis, (key, label) in zip(
        figure.subplots(1, 2, sharey=True), (("mpsnr_db", "MPSNR (dB)"), ("sam_deg", "SAM (degrees)")), strict=True
    ):
        for y, (name, row) in zip(place, rows.items(), strict=True):
            value = row.get(key)
            if value is None:
                continue
            std = metrics.get("spread", {}).get(name, {}).get(key)
            axis.errorbar(value, y, xerr=std, fmt="o", color=tints.get(name, OTHER), capsize=3, markersize=6)
            text = {"textcoords": "offset points", "fontsize": 8, "ha": "center"}
            axis.annotate(f"{value:.2f}", (value, y), xytext=(0, 6), **text)
        axis.set_yticks(place, list(rows), fontsize=9)
        axis.set_xlabel(label, fontsize=9)
        axis.margins(x=0.12, y=0.12)
        quiet(axis)
    figure.axes[0].invert_yaxis()
    return figure


def training_curves(path: Path) -> Figure | None:
    """Plot the training curves of a stage, one panel for each unit; None if there is nothing to plot.

    Args:
        path: CSV with a header; the first column is the step, cells may be empty. Counts of layers are plotted if one
            is not zero.

    Raises:
        FileFormatError: A cell is not a number.
    """
    table = _read_csv(path)
    if len(table) < 2:
        return None
    (step, steps), *columns = table.items()
    panels: dict[str, dict[str, NDArray[np.float64]]] = {"loss": {}, "layers": {}, "gain in dB": {}, "dB": {}}
    for name, values in columns:
        unit = "gain in dB" if name.endswith("_gain_db") else _UNITS.get(name.rsplit("_", 1)[-1], "loss")
        if np.isfinite(values).any() and (unit != "layers" or np.nanmax(values) > 0):
            panels[unit][name] = values
    shown = {unit: panel for unit, panel in panels.items() if panel}
    if not shown:
        return None
    figure = new_figure(4.8 * len(shown), 3.2)
    for axis, (unit, panel) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        _curves(axis, steps, panel)
        axis.set_xlabel(step, fontsize=9)
        axis.set_ylabel(unit, fontsize=9)
    return figure


def _curves(axis: Axes, steps: NDArray[np.float64], panel: Mapping[str, NDArray[np.float64]]) -> None:
    for name, values in panel.items():
        known = np.isfinite(values)
        marker = "o" if known.sum() < _FEW else None
        axis.plot(steps[known], values[known], linewidth=1.4, marker=marker, markersize=3, label=name)
    shown = np.concatenate(list(panel.values()))
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    if low > 0 and high > _DECADES * low:
        axis.set_yscale("log")
    axis.legend(fontsize=8, frameon=False)
    quiet(axis)


def save(figure: Figure, target: Path | BinaryIO) -> None:
    """Write a PNG; the same figure gives the same bytes."""
    figure.savefig(target, format="png", dpi=100, facecolor="white", metadata={"Software": None})


def new_figure(width: float, height: float, *, layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """Make an empty figure of this size in inches; the height is limited for scenes much taller than wide."""
    figure = Figure(figsize=(width, min(height, _TALLEST)), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _band_axis(wavelength_nm: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    if np.isfinite(wavelength_nm).all():
        return wavelength_nm, "wavelength (nm)"
    # Bands are counted from 1, as in all messages.
    return np.arange(1, len(wavelength_nm) + 1, dtype=np.float64), "band"


def _mark(axis: Axes, number: int, *, y: int, x: int) -> None:
    axis.plot(x, y, "o", markersize=9, markerfacecolor="none", markeredgecolor="white", markeredgewidth=2.6)
    axis.plot(x, y, "o", markersize=9, markerfacecolor="none", markeredgecolor="#d55e00", markeredgewidth=1.4)
    axis.annotate(
        str(number),
        (x, y),
        xytext=(7, 5),
        textcoords="offset points",
        fontsize=10,
        fontweight="bold",
        color="white",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "#d55e00", "edgecolor": "none"},
        annotation_clip=False,
    )


def quiet(axis: Axes, grid: str = "both") -> None:
    """Remove top and right spines, and draw a faint grid behind the data."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)


def _read_csv(path: Path) -> dict[str, NDArray[np.float64]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return {name: np.array([_cell(row[name]) for row in rows]) for name in (rows[0] if rows else {})}
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is no table of numbers ({error}); run the training stage again.") from error


def _cell(text: Any) -> float:
    return float(text) if text else math.nan
