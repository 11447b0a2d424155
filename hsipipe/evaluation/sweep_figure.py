"""The results of a sweep as one picture: quality, time and, where it changes, what the autoencoder loses."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from hsipipe.evaluation.figures import colours, new_figure, quiet
from hsipipe.evaluation.sweep_table import PointResult, check_comparable
from hsipipe.evaluation.verdicts import LOSSLESS_DB
from hsipipe.protocols.metrics import METRIC
from hsipipe.sweeps import FigureParams

_PANELS = {key: METRIC[key].label for key in ("mpsnr_db", "sam_deg", "seconds_per_image")}
_CEILINGS = ("ae-ceiling", "latent-ceiling")
_MARKERS = {"model": "o", "control": "D", "baseline": "s", "ceiling": "^"}
_DECADE = 10.0


def sweep_figure(title: str, figure: FigureParams, results: Sequence[PointResult]) -> Figure:
    """Draw the results as the sweep wants them.

    Raises:
        DataError: They follow different protocols.
    """
    check_comparable(results)
    draw = {"dots": _dots, "lines": _lines, "spread": _spread}[figure.kind]
    drawing = draw(figure, results)
    drawing.suptitle(title, fontsize=11)
    return drawing


def _dots(_: FigureParams, results: Sequence[PointResult]) -> Figure:
    """A row for each point: its model with the number, and a mark for everything beside it.

    Dots rather than bars, which would have to begin at zero.
    """
    panels = [(key, label, False) for key, label in _PANELS.items()]
    panels.append(("mpsnr_db", "MPSNR of the ceilings (dB)", True))
    figure = new_figure(13, 1.7 + 0.45 * len(results))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    tints = colours(_names(results))
    for axis, (key, label, ceilings) in zip(axes, panels, strict=True):
        for name in _names(results):
            if _is_in_panel(results, name, ceilings=ceilings):
                _marks(axis, results, name, key=key, colour=tints[name])
        if key == "seconds_per_image":
            _decades(axis, "x")
        axis.set_xlabel(label, fontsize=9)
        axis.margins(x=0.15)
        quiet(axis, grid="x")
        axis.grid(axis="y", color="#eeeeee", linewidth=0.6)
    axes[0].set_yticks(range(len(results)), [result.label for result in results], fontsize=9)
    axes[0].set_ylim(len(results) - 0.4, -0.6)
    _legend(figure, axes)
    return figure


def _marks(axis: Axes, results: Sequence[PointResult], name: str, *, key: str, colour: str) -> None:
    kind, values = _kind(results, name), _values(results, name, key)
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    size = 9 if kind == "model" else 6
    axis.plot(
        [value for _, value in known],
        [place for place, _ in known],
        _MARKERS[kind],
        color=colour,
        markersize=size,
        label=name,
        zorder=4 if kind == "model" else 3,
    )
    if kind == "model":
        for place, value in known:
            text, at = f"{value:.4g}", (value, place)
            axis.annotate(text, at, xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
    if name == _CEILINGS[0]:
        for place in (place for place, value in enumerate(values) if value is None):
            axis.annotate("lossless", (0.03, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)


def _lines(params: FigureParams, results: Sequence[PointResult]) -> Figure:
    """Lines over x, one a series for the model; what x does not change is a level line."""
    x = [_x(params, result) for result in results]
    series = [str(result.settings[params.series]) if params.series else "" for result in results]
    figure = new_figure(13, 3.6)
    panels = [(key, label, False) for key, label in _PANELS.items()]
    if any(len(set(_values(results, name, "mpsnr_db"))) > 1 for name in _CEILINGS):
        panels.append(("mpsnr_db", "MPSNR of the ceilings (dB)", True))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    tints = colours(_names(results))
    for axis, (key, label, ceilings) in zip(axes, panels, strict=True):
        for name in _names(results):
            if not _is_in_panel(results, name, ceilings=ceilings):
                continue
            values = _values(results, name, key)
            if _kind(results, name) == "model":
                _model_lines(axis, x, series, values, name=name, colour=tints[name])
            elif params.series or len(set(x)) == 1:
                numbers = [value for value in values if value is not None]
                if numbers:
                    axis.axhline(statistics.fmean(numbers), color=tints[name], linestyle="--", label=name)
            else:
                _line(axis, x, values, color=tints[name], marker=_MARKERS[_kind(results, name)], label=name)
        if params.log:
            axis.set_xscale("log")
        axis.set_xticks(sorted(set(x)), [f"{value:g}" for value in sorted(set(x))])
        axis.minorticks_off()
        if key == "seconds_per_image":
            _decades(axis, "y")
        axis.set_xlabel(params.title or str(params.x), fontsize=9)
        axis.set_ylabel(label, fontsize=9)
        quiet(axis)
    _legend(figure, axes)
    return figure


def _spread(_: FigureParams, results: Sequence[PointResult]) -> Figure:
    """Every point of every row, and mean and standard deviation beside them."""
    names = [name for name in _names(results) if _kind(results, name) != "ceiling"]
    tints = colours(names)
    panels = [(key, label) for key, label in _PANELS.items() if key != "seconds_per_image"]
    figure = new_figure(10, 1.6 + 0.5 * len(names))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (key, label) in zip(axes, panels, strict=True):
        for place, name in enumerate(names):
            values = [value for value in _values(results, name, key) if value is not None]
            if not values:
                continue
            axis.plot(values, [place - 0.14] * len(values), "o", color=tints[name], alpha=0.6, markersize=5)
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            mean = statistics.fmean(values)
            axis.errorbar(mean, place + 0.14, xerr=spread, fmt="D", color=tints[name], capsize=4, markersize=5)
            axis.annotate(
                f"{mean:.2f} ± {spread:.2f}",
                (mean, place + 0.14),
                xytext=(0, -13),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axis.set_xlabel(f"{label}: points, mean and standard deviation", fontsize=9)
        axis.margins(x=0.15, y=0.15)
        quiet(axis, grid="x")
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].invert_yaxis()
    return figure


def _model_lines(
    axis: Axes,
    x: Sequence[float],
    series: Sequence[str],
    values: Sequence[float | None],
    *,
    name: str,
    colour: str,
) -> None:
    styles = iter(("-", ":", "-.", "--") * len(series))
    for kind in dict.fromkeys(series):
        mine = [index for index, other in enumerate(series) if other == kind]
        label = f"{name} {kind}".strip()
        _line(
            axis,
            [x[i] for i in mine],
            [values[i] for i in mine],
            color=colour,
            marker="o",
            linestyle=next(styles),
            label=label,
        )


def _line(axis: Axes, x: Sequence[float], values: Sequence[float | None], **style: str) -> None:
    known = sorted((place, value) for place, value in zip(x, values, strict=True) if value is not None)
    axis.plot([place for place, _ in known], [value for _, value in known], markersize=4.5, linewidth=1.6, **style)  # type: ignore[arg-type]


def _x(params: FigureParams, result: PointResult) -> float:
    key = str(params.x)
    if key in result.settings:
        return float(result.settings[key])
    models = result.metrics["models"].values()
    return next(float(row[key]) for row in models if row["kind"] == "model")


def _names(results: Sequence[PointResult]) -> list[str]:
    return list(dict.fromkeys(name for result in results for name in result.metrics["models"]))


def _kind(results: Sequence[PointResult], name: str) -> str:
    rows: Iterable[Mapping[str, str]] = (result.metrics["models"].get(name, {}) for result in results)
    return next(row["kind"] for row in rows if row)


def _values(results: Sequence[PointResult], name: str, key: str) -> list[float | None]:
    """None where there is no number, or one of rounding errors alone."""
    values = [result.metrics["models"].get(name, {}).get(key) for result in results]
    return [None if value is None or (key == "mpsnr_db" and value > LOSSLESS_DB) else value for value in values]


def _is_in_panel(results: Sequence[PointResult], name: str, *, ceilings: bool) -> bool:
    """Ceilings have a panel of their own: beside them nothing else could be told apart."""
    return name in _CEILINGS if ceilings else _kind(results, name) != "ceiling"


def _decades(axis: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers where the values lie far apart, else one from zero."""
    known = [value for value in _plotted(axis, which) if value > 0]
    wide = bool(known) and max(known) > _DECADE * min(known)
    if not wide:
        axis.set(**{f"{which}lim": (0, 1.25 * max(known, default=1.0))})
        return
    axis.set(**{f"{which}scale": "log"})
    ruler = axis.xaxis if which == "x" else axis.yaxis
    ruler.set_major_locator(LogLocator(subs=(1, 2, 5) if max(known) < _DECADE**2 * min(known) else (1,)))
    ruler.set_major_formatter("{x:g}")
    ruler.set_minor_formatter(NullFormatter())


def _plotted(axis: Axes, which: Literal["x", "y"]) -> list[float]:
    data = (line.get_xdata() if which == "x" else line.get_ydata() for line in axis.lines)
    return [float(value) for values in data for value in np.asarray(values, dtype=float)]


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    entries: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=6, fontsize=9, frameon=False)
