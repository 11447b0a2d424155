"""Which part of the data trains, chooses and tests. The three never touch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hsipipe.errors import DataError, ParamsError
from hsipipe.params import SplitParams

SPLITS = ("train", "val", "test")
# auto takes whole scenes from this number on.
_ENOUGH_SCENES = 3


@dataclass(frozen=True)
class Region:
    """Rows ``y0:y1`` and columns ``x0:x1`` of a scene, in HR pixels."""

    scene: str
    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in HR pixels."""
        return self.y1 - self.y0, self.x1 - self.x0


def plan_split(shapes: Mapping[str, tuple[int, int]], split: SplitParams, *, scale: int) -> dict[str, list[Region]]:
    """Divide scenes into train, val and test.

    Args:
        shapes: Height and width of each scene in HR pixels, multiples of the scale.
        split: How to divide.
        scale: Ratio s; borders between regions lie on multiples of it.

    Returns:
        The regions of "train", "val" and "test", each sorted by scene.

    Raises:
        DataError: A scene is too small, does not fit the scale, or there are too few scenes.
        ParamsError: A named scene is unknown, or in two parts.
    """
    for name, shape in shapes.items():
        check_scale(name, shape, scale)
    if split.by == "scene" or (split.by == "auto" and len(shapes) >= _ENOUGH_SCENES):
        return _by_scene(shapes, split)
    named = [*split.test_scenes, *split.val_scenes]
    if named:
        raise ParamsError(
            f"split.test_scenes and split.val_scenes ({', '.join(named)}) name whole scenes, but {len(shapes)} scenes "
            f"are split by region (split.by={split.by!r}); empty the lists, or have three scenes or more."
        )
    return _by_region(shapes, split, scale)


def check_scale(name: str, shape: tuple[int, int], scale: int) -> None:
    """Check that the scale divides a scene.

    Raises:
        DataError: Names the scene, its size and the remainder.
    """
    height, width = shape
    if height % scale or width % scale or not min(shape):
        raise DataError(
            f"Scene {name!r} has {height} x {width} pixels, which leaves a remainder of {height % scale} x "
            f"{width % scale} at scale {scale}. Set degradation.crop_remainder to true to cut it off, or take a "
            "scale that divides both."
        )


def _by_scene(shapes: Mapping[str, tuple[int, int]], split: SplitParams) -> dict[str, list[Region]]:
    names = sorted(shapes)
    if len(names) < _ENOUGH_SCENES:
        raise DataError(
            f"A split by scene needs {_ENOUGH_SCENES} scenes (train, val, test), got {len(names)}: "
            f"{', '.join(names)}. Set split.by to region."
        )
    chosen = _choose(names, split)
    return {part: [_whole(name, shapes[name]) for name in chosen[part]] for part in SPLITS}


def _choose(names: Sequence[str], split: SplitParams) -> dict[str, list[str]]:
    test, val = sorted(set(split.test_scenes)), sorted(set(split.val_scenes))
    for key, wanted in (("test_scenes", test), ("val_scenes", val)):
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ParamsError(f"split.{key}: no scene {unknown[0]!r}; there are {', '.join(names)}.")
    if both := sorted(set(test) & set(val)):
        raise ParamsError(f"Scene {both[0]!r} is in split.test_scenes and in split.val_scenes; a scene has one use.")
    # Sorted names before the draw: neither the order of the files nor of the lists matters.
    order = np.random.default_rng(split.seed).permutation(len(names))
    free = [names[i] for i in order if names[i] not in {*test, *val}]
    n_test = 0 if test else max(1, round(split.test * len(names)))
    n_val = 0 if val else max(1, round(split.val * len(names)))
    while n_test + n_val > len(free) - 1 and max(n_test, n_val) > 1:
        n_test, n_val = (n_test - 1, n_val) if n_test >= n_val else (n_test, n_val - 1)
    if n_test + n_val > len(free) - 1:
        raise ParamsError(
            f"split.test_scenes and split.val_scenes leave {len(free)} of {len(names)} scenes, too few for one scene "
            "of each part; name fewer."
        )
    test, val = test or free[:n_test], val or free[n_test : n_test + n_val]
    train = [name for name in names if name not in {*test, *val}]
    return {"train": train, "val": sorted(val), "test": sorted(test)}


def _whole(name: str, shape: tuple[int, int]) -> Region:
    return Region(name, 0, shape[0], 0, shape[1])


def _by_region(shapes: Mapping[str, tuple[int, int]], split: SplitParams, scale: int) -> dict[str, list[Region]]:
    parts: dict[str, list[Region]] = {part: [] for part in SPLITS}
    for name in sorted(shapes):
        height, width = shapes[name]
        for part, (y0, y1) in _strips(name, height, split, scale).items():
            parts[part].append(Region(name, y0, y1, 0, width))
    return parts


def _strips(name: str, height: int, split: SplitParams, scale: int) -> dict[str, tuple[int, int]]:
    """Rows of train, val and test, from north to south with a guard between them."""
    guard = -(-split.guard // scale) * scale
    val = max(scale, round(split.val * height / scale) * scale)
    test = max(scale, round(split.test * height / scale) * scale)
    train = height - val - test - 2 * guard
    if train < scale:
        raise DataError(
            f"Scene {name!r} with {height} rows is too small for regions: val {val} + test {test} + 2 x guard {guard} "
            f"rows leave {train} for training. Lower split.val, split.test or split.guard, or give three scenes."
        )
    return {
        "train": (0, train),
        "val": (train + guard, train + guard + val),
        "test": (height - test, height),
    }
