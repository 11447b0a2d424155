"""The viewer of a test scene in the report: input, interpolation, methods and truth, within a number of bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts import Pair
from hsipipe.artifacts.no_data import filled
from hsipipe.degradation.bicubic import upsample
from hsipipe.evaluation.evidence import SceneEvidence
from hsipipe.evaluation.figure_rows import choose_rows, colours
from hsipipe.evaluation.headline import headline
from hsipipe.evaluation.predicted import FINENESS, SUFFIX, PredictedCube, Window, choose_window
from hsipipe.viewer.components import Components, compress, fine_step
from hsipipe.viewer.maps import angle_map, error_map
from hsipipe.viewer.scene import MAP_STEPS, TINTS, Layer, Map, Scene

INTERPOLATION = "bicubic"
"""The row that errors are compared with; without such a row the viewer has an interpolation nevertheless."""
INPUT = "LR input"
TRUTH = "truth"
_INPUT_TINT, _INTERPOLATION_TINT = TINTS[8], TINTS[7]
"""Colours that :func:`colours` gives to no row."""
_REACH = 4
"""LR pixels around a part with which its interpolation is that of the whole scene."""


@dataclass(frozen=True)
class _Level:
    """A degree of reduction.

    Attributes:
        rows: Most rows of the table.
        coarser: Factor of the quantisation step.
        halvings: The number of pixels is halved this often.
    """

    rows: int
    coarser: int = 1
    halvings: int = 0

    @property
    def map_steps(self) -> int:
        """Steps of the maps."""
        return MAP_STEPS if self.coarser == 1 else MAP_STEPS // (2 * self.coarser)


_LEVELS = (_Level(7), _Level(7, 2), _Level(7, 4), *(_Level(4, 4, halvings) for halvings in range(6)))
"""Reductions, those first that are seen least: steps of the values, then rows, then the part of the scene."""


@dataclass(frozen=True)
class Viewer:
    """The viewer of a scene.

    Attributes:
        name: The scene.
        data: Its JSON for the page.
        reduced: What was reduced so that it fits, in words; empty: nothing.
    """

    name: str
    data: str
    reduced: tuple[str, ...]


def make_viewer(
    pair: Pair,
    scores: Mapping[str, Path],
    metrics: Mapping[str, Any],
    *,
    most_bytes: int,
) -> Viewer | None:
    """Make the viewer of a scene, as fine as fits; None if not even the coarsest one does.

    Args:
        pair: The scene.
        scores: Folder of the scores of each row.
        metrics: The tree of metrics.json of the same rows.
        most_bytes: Largest size of the data in the page.

    Raises:
        MissingInputError: The scores of a row are missing.
        FileFormatError: They are damaged.
    """
    names = choose_rows(metrics, _LEVELS[0].rows)
    cubes = {name: PredictedCube.load(scores[name] / f"{pair.name}{SUFFIX}") for name in names}
    evidence = {name: SceneEvidence.load(scores[name] / f"{pair.name}.npz") for name in names}
    for level in _LEVELS:
        scene, reduced = _scene(pair, cubes, evidence, metrics, level)
        data = scene.to_json()
        if len(data) <= most_bytes:
            return Viewer(pair.name, data, reduced)
    return None


def _scene(
    pair: Pair,
    cubes: Mapping[str, PredictedCube],
    evidence: Mapping[str, SceneEvidence],
    metrics: Mapping[str, Any],
    level: _Level,
) -> tuple[Scene, tuple[str, ...]]:
    scale = pair.hr.shape[1] // pair.lr.shape[1]
    window = _window(pair, list(cubes.values()), level, scale)
    truth, low = window.cut(pair.opened(pair.hr)), window.cut(pair.opened_lr(), scale)
    step = fine_step(truth, FINENESS[0]) * level.coarser
    nm, tints = pair.wavelength_nm, colours(cubes)
    layers = [Layer(INPUT, compress(low, step), nm, tint=_INPUT_TINT)] if scale > 1 else []
    maps: list[Map] = []
    baseline = INTERPOLATION
    if INTERPOLATION not in cubes:
        baseline = f"{INTERPOLATION} of the input" if scale > 1 else "input itself"
        up = _interpolated(pair, window, scale)
        layers.append(Layer(baseline, compress(up, step), nm, tint=_INTERPOLATION_TINT))
        maps += [Map("sam", baseline, angle_map(up, truth)), Map("error", baseline, error_map(up, truth))]
    kept = {*choose_rows(metrics, level.rows), INTERPOLATION}
    shown = [name for name in cubes if name in kept]
    for name in shown:
        cube, seen = cubes[name], evidence[name]
        inner = window.within(cube.window)
        layers.append(Layer(name, _cut(cube, inner, step), nm, tint=tints[name]))
        maps += [Map("sam", name, inner.cut(cube.angle_deg))]
        maps += [Map("error", name, _cut_map(seen.error[0], window, int(seen.step)))]
        maps += [Map("width", name, _cut_map(width, window, int(seen.step))) for width in seen.width]
    layers.append(Layer(TRUTH, compress(truth, step), nm))
    reduced = _reduced(pair, window, _skipped(metrics, shown), level)
    best = headline(metrics).best
    scene = Scene(
        name=pair.name,
        layers=layers,
        maps=maps,
        truth=TRUTH,
        baseline=baseline,
        left=baseline,
        right=best if best in shown and best != baseline else _other(shown, baseline),
        origin=(window.y, window.x),
        map_steps=level.map_steps,
        notes=[*reduced, f"Values are those of the cubes within {max(_error(layer) for layer in layers):.2g}."],
    )
    return scene, tuple(reduced)


def _window(pair: Pair, cubes: Sequence[PredictedCube], level: _Level, scale: int) -> Window:
    """The part of the scene that every cube has, or at this level of reduction a part of that."""
    window = cubes[0].window
    for cube in cubes[1:]:
        window = window.overlap(cube.window)
    if not level.halvings:
        return window
    return window.overlap(choose_window(pair.opened(pair.hr), (window.height * window.width) >> level.halvings, scale))


def _interpolated(pair: Pair, window: Window, scale: int) -> NDArray[np.float32]:
    """Interpolate a part of the input as in the whole scene: with its surroundings."""
    (top, bottom), (left, right) = (
        (max(0, start // scale - _REACH), min(size, (start + length) // scale + _REACH))
        for start, length, size in zip(
            (window.y, window.x), (window.height, window.width), pair.lr.shape[1:], strict=True
        )
    )
    around = np.s_[top:bottom, left:right]
    low = pair.lr[:, top:bottom, left:right]
    if pair.lr_valid is not None:
        low = filled(low, pair.lr_valid[around])
    up = np.clip(upsample(low, scale), 0, 1).astype(np.float32) if scale > 1 else low
    inside = window.within(Window(top * scale, left * scale, *up.shape[1:])).cut(up)
    return inside if pair.valid is None else np.where(window.cut(pair.valid), inside, np.float32(np.nan))


def _cut_map(plane: NDArray[np.float16], window: Window, step: int) -> NDArray[np.float32]:
    """Cut a part of the scene out of a map that has every `step`-th pixel."""
    rows, columns = (
        np.minimum(np.arange(start, start + length) // step, size - 1)
        for start, length, size in zip((window.y, window.x), (window.height, window.width), plane.shape, strict=True)
    )
    return plane[np.ix_(rows, columns)].astype(np.float32)


def _cut(cube: PredictedCube, inner: Window, step: float) -> Components:
    """The components of a part of a cube, in coarser steps if they are asked for."""
    kept = cube.components
    if step <= kept.step * 1.01 and inner.cut(kept.codes).shape == kept.codes.shape:
        return kept
    made = compress(inner.cut(kept.cube()), max(step, kept.step))
    return replace(made, rms_error=made.rms_error + kept.rms_error, max_error=made.max_error + kept.max_error)


def _error(layer: Layer) -> float:
    return layer.components.max_error


def _other(shown: Sequence[str], baseline: str) -> str:
    """A row other than the baseline, or the truth."""
    return next((name for name in reversed(shown) if name != baseline), TRUTH)


def _skipped(metrics: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    """The rows that are not shown, without ceilings."""
    return [name for name, row in metrics["models"].items() if row["kind"] != "ceiling" and name not in shown]


def _reduced(pair: Pair, window: Window, skipped: Sequence[str], level: _Level) -> list[str]:
    said = []
    height, width = pair.hr.shape[1:]
    if (window.height, window.width) != (height, width):
        said.append(
            f"The viewer shows {window.height} x {window.width} of {height} x {width} pixels, those around the densest "
            f"texture, from row {window.y} and column {window.x}."
        )
    if skipped:
        said.append(f"The viewer skips {', '.join(skipped)}.")
    if level.coarser > 1:
        said.append(f"Values are in steps {level.coarser} times as coarse as those that were kept.")
    return said
