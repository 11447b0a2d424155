"""Figures of uncertainty for the report: maps of the samples' spread, and their calibration against the error."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hsipipe.evaluation.calibration import Sums, curve
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.figures import WIDTH, new_figure, quiet

_LEAST_SHARE = 1e-3
_POOLED, _SCENE, _IDENTITY = "#0072b2", "#9ecae1", "#333333"


def spread_maps(scene: SceneEvidence, number: int) -> Figure:
    """Show error and predicted error of a row side by side; each colour scale ends at its 99.5th percentile.

    Args:
        scene: The scene.
        number: Index of the row in `scene.spread_rows`.
    """
    error = scene.error[scene.spread_rows[number]].astype(np.float32)
    spread = scene.spread[number].astype(np.float32)
    height, width = error.shape
    figure = new_figure(WIDTH * 0.75, WIDTH * 0.75 / 2 * height / width * 0.85 + 0.5, layout="compressed")
    axes = figure.subplots(1, 2)
    titles = ("error: mean |error| over bands", "predicted error: mean over bands, from the spread")
    for axis, values, title in zip(axes, (error, spread), titles, strict=True):
        top = float(np.percentile(values, 99.5)) or 1e-6
        image = axis.imshow(values, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
        bar = figure.colorbar(image, ax=axis, extend="max", fraction=0.046, pad=0.02)
        bar.ax.tick_params(labelsize=8)
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
