"""Figures of uncertainty for the report: samples, their spread in maps, their calibration, their power spectra."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hsipipe.evaluation.calibration import Sums, curve
from hsipipe.evaluation.ensemble import LEVELS
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.figure_rows import colours
from hsipipe.evaluation.figures import WIDTH, error_colours, new_figure, quiet

_LEAST_SHARE = 1e-3
_POOLED, _SCENE, _IDENTITY = "#0072b2", "#9ecae1", "#333333"


def spread_maps(scene: SceneEvidence, number: int) -> Figure:
    """Show error and width of the 90 % interval of a row side by side; each scale ends at its 99.5th percentile.

    Args:
        scene: The scene.
        number: Index of the row in `scene.spread_rows`.
    """
    error = scene.error[scene.spread_rows[number]].astype(np.float32)
    spread = scene.width[number].astype(np.float32)
    height, width = error.shape
    figure = new_figure(WIDTH * 0.75, WIDTH * 0.75 / 2 * height / width * 0.85 + 0.5, layout="compressed")
    axes = figure.subplots(1, 2)
    titles = ("error: mean |error| over bands", "width of the 90 % interval: mean over bands")
    for axis, values, title in zip(axes, (error, spread), titles, strict=True):
        top = float(np.nanpercentile(values, 99.5)) or 1e-6
        image = axis.imshow(values, cmap=error_colours(), vmin=0, vmax=top, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
        bar = figure.colorbar(image, ax=axis, extend="max", fraction=0.046, pad=0.02)
        bar.ax.tick_params(labelsize=8)
    return figure


def sample_strip(scene: SceneEvidence, number: int) -> Figure:
    """Show the enlarged part: prediction, samples of a row, truth.

    Args:
        scene: The scene.
        number: Index of the row in `scene.spread_rows`.
    """
    y, x, height, width = (int(value // scene.step) for value in scene.detail)
    part = np.s_[y : y + height, x : x + width]
    samples = scene.samples[number]
    images = [scene.rgb[scene.spread_rows[number]][part], *samples, scene.hr_rgb[part]]
    titles = ["prediction", *(f"sample {index + 1}" for index in range(len(samples))), "truth"]
    figure = new_figure(WIDTH, WIDTH / len(images) * height / width + 0.3, layout="compressed")
    for axis, image, title in zip(figure.subplots(1, len(images)), images, titles, strict=True):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    return figure


def power_spectra(scene: SceneEvidence, rows: Mapping[str, int]) -> Figure:
    """Plot the power over the frequency relative to the truth's: predictions as lines, samples dashed.

    Args:
        scene: The scene.
        rows: Index of each row, by name.
    """
    figure = new_figure(7.5, 3.6)
    axis = figure.subplots()
    shades = colours(rows)
    for name, index in rows.items():
        axis.plot(scene.frequency, scene.power[index] / scene.hr_power, color=shades[name], linewidth=1.5, label=name)
    for number, index in enumerate(scene.spread_rows):
        name = list(rows)[index]
        ratio = scene.sample_power[number] / scene.hr_power
        axis.plot(scene.frequency, ratio, "--", color=shades[name], linewidth=1.5, label=f"{name}: one sample")
    axis.axhline(1, color=_IDENTITY, linewidth=1)
    axis.set_yscale("log")
    axis.set_xlabel("frequency (cycles per pixel)", fontsize=9)
    axis.set_ylabel("power / power of the truth", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    quiet(axis)
    return figure


def reliability(numbers: Mapping[str, Any]) -> Figure:
    """Plot reliability, ranks of the truth among the samples, and coverage of 90 % intervals by texture and wavelength.

    Args:
        numbers: The ``uncertainty`` of a row in metrics.json.
    """
    levels = [100 * level for level in LEVELS]
    figure = new_figure(WIDTH, 2.8)
    reliability_axis, *axes = figure.subplots(1, 4)
    reliability_axis.plot(levels, levels, "--", color=_IDENTITY, linewidth=1.2)
    reliability_axis.plot(levels, numbers["coverage_by_level"], "o-", color=_POOLED, markersize=4)
    reliability_axis.set_xlabel("probability of the interval (%)", fontsize=9)
    reliability_axis.set_ylabel("% of the values inside", fontsize=9)
    quiet(reliability_axis)
    panels = (
        ("ranks", 100.0, "rank of the truth among the samples", "% of the values"),
        ("coverage_by_texture", 1.0, "decile of local texture, smooth to rough", "% inside the 90 % interval"),
        ("coverage_by_wavelength", 1.0, "wavelength, in steps of 100 nm", "% inside the 90 % interval"),
    )
    for axis, (key, factor, below, beside) in zip(axes, panels, strict=True):
        heights = factor * np.asarray(numbers[key])
        axis.bar(np.arange(1, len(heights) + 1), heights, color=_POOLED, width=0.8)
        axis.axhline(100 / len(heights) if key == "ranks" else 90, color=_IDENTITY, linewidth=1.2, linestyle="--")
        axis.set_xlabel(below, fontsize=9)
        axis.set_ylabel(beside, fontsize=9)
        quiet(axis)
    return figure


def calibration(pooled: Sums, scenes: Mapping[str, Sums]) -> Figure:
    """Plot RMS error over predicted error with the identity line, and below it the histogram of the predicted errors.

    Args:
        pooled: Sums over all scenes.
        scenes: Sums of each scene, drawn as thin lines if there are several.
    """
    figure = new_figure(7.5, 6.2)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for index, sums in enumerate(scenes.values() if len(scenes) > 1 else ()):
        predicted, observed, _ = curve(sums, least_share=_LEAST_SHARE)
        top.plot(predicted, observed, color=_SCENE, linewidth=1, label="_" if index else "each test scene", zorder=2)
    predicted, observed, share = curve(pooled, least_share=_LEAST_SHARE)
    top.plot(
        predicted, observed, color=_POOLED, linewidth=2, marker="o", markersize=4, label="all test scenes", zorder=3
    )
    bottom.bar(predicted, share * 100, width=0.22 * predicted, color=_POOLED)
    _identity(top)
    bottom.set_xlabel("predicted error of the bin (root mean square, full range 1)", fontsize=9)
    top.set_ylabel("root mean square error in the bin (full range 1)", fontsize=9)
    bottom.set_ylabel("% of values", fontsize=9)
    top.legend(fontsize=9, frameon=False, loc="upper left")
    for axis in (top, bottom):
        quiet(axis)
    return figure


def _identity(axis: Axes) -> None:
    """Set log scales that fit the values and draw the line x = y; if all values are zero, leave the axes unchanged."""
    points: NDArray[np.float64] = np.concatenate([np.asarray(line.get_xydata()) for line in axis.lines])
    points = points[(points > 0).all(axis=1)]
    if not len(points):
        return
    axis.set_xscale("log")
    axis.set_yscale("log")
    (left, low), (right, high) = points.min(axis=0) / 1.3, points.max(axis=0) * 1.3
    ends = [min(left, low), max(right, high)]
    axis.plot(ends, ends, color=_IDENTITY, linewidth=1.2, linestyle="--", label="calibrated: error as predicted")
    axis.set_xlim(left, right)
    axis.set_ylim(min(low, left), max(high, right))
