"""Split scenes into training, validation and test regions that never overlap."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from hsipipe.errors import DataError, ParamsError
from hsipipe.params import SplitParams

SPLITS = ("train", "val", "test")
# Number of scenes from which `auto` splits by scene.
_ENOUGH_SCENES = 3
_REGION = re.compile(r"(?P<scene>.+)@(?P<y0>\d+):(?P<y1>\d+)x(?P<x0>\d+):(?P<x1>\d+)")


@dataclass(frozen=True)
class Region:
    """Rows ``y0:y1`` and columns ``x0:x1`` of a scene, in HR pixels.

    Written as ``chikusei@106:618x143:655``, which needs no quotes on a command line.
    """

    scene: str
    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in HR pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    def __str__(self) -> str:
        return f"{self.scene}@{self.y0}:{self.y1}x{self.x0}:{self.x1}"

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Parse a text ``scene@y0:y1xx0:x1``.

        Raises:
            ParamsError: The text has another form, or the region is empty.
        """
        match = _REGION.fullmatch(text)
        if match is None:
            raise ParamsError(
                f"split.regions: got {text!r}, expected scene@y0:y1xx0:x1 with rows and columns in HR pixels, "
                "for example chikusei@106:618x143:655."
            )
        y0, y1, x0, x1 = (int(match[key]) for key in ("y0", "y1", "x0", "x1"))
        if y0 >= y1 or x0 >= x1:
            raise ParamsError(f"split.regions: {text!r} is empty; set ends larger than the starts.")
        return cls(match["scene"], y0, y1, x0, x1)

    def gap(self, other: "Region") -> int:
        """Return the gap to another region of the scene in HR pixels, along the axis of the larger gap.

        A negative gap is an overlap.
        """
        return max(self.y0 - other.y1, other.y0 - self.y1, self.x0 - other.x1, other.x0 - self.x1)


def region_names(regions: Sequence[Region]) -> list[str]:
    """Name the regions of one part of the split: the scene, and its corner if the scene has several regions."""
    counts = Counter(region.scene for region in regions)
    return [r.scene if counts[r.scene] == 1 else f"{r.scene}@{r.y0}_{r.x0}" for r in regions]


def plan_split(shapes: Mapping[str, tuple[int, int]], split: SplitParams, *, scale: int) -> dict[str, list[Region]]:
    """Divide scenes into train, val and test.

    Args:
        shapes: Height and width of each scene in HR pixels, multiples of the scale (unless regions are listed).
        split: Settings of the split.
        scale: Ratio of the pixel sizes s; borders between regions lie on multiples of it.

    Returns:
        Regions of "train", "val" and "test", each sorted by scene.

    Raises:
        DataError: A scene is too small or not divisible by the scale, or there are too few scenes.
        ParamsError: A named scene is unknown or in two parts, or a listed region does not fit its scene, the scale or
            another region.
    """
    named = [*split.test_scenes, *split.val_scenes]
    if split.by == "listed":
        if named:
            raise ParamsError(
                f"split.by is listed, so split.test_scenes and split.val_scenes ({', '.join(named)}) have no effect; "
                "empty them, or set split.by to scene."
            )
        return _by_list(shapes, split, scale)
    for name, shape in shapes.items():
        check_divides(name, shape, scale)
    if any((split.regions.train, split.regions.val, split.regions.test)):
        raise ParamsError(f"split.regions lists regions, but split.by is {split.by!r}; set it to listed.")
    if split.by == "scene" or (split.by == "auto" and len(shapes) >= _ENOUGH_SCENES):
        return _by_scene(shapes, split)
    if named:
        raise ParamsError(
            f"split.test_scenes and split.val_scenes ({', '.join(named)}) name whole scenes, but {len(shapes)} scenes "
            f"are split by region (split.by={split.by!r}); empty the lists, or provide three scenes or more."
        )
    return _by_region(shapes, split, scale)


def check_divides(name: str, shape: tuple[int, int], scale: int) -> None:
    """Check that the scale divides the height and width of a scene.

    Raises:
        DataError: It does not; the message gives the scene, its size and the remainder.
    """
    height, width = shape
    if height % scale or width % scale or not min(shape):
        raise DataError(
            f"Scene {name!r} has {height} x {width} pixels, which leaves a remainder of {height % scale} x "
            f"{width % scale} at scale {scale}. Set degradation.crop_remainder to true to crop it, or set a "
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
        raise ParamsError(f"Scene {both[0]!r} is in split.test_scenes and in split.val_scenes; remove it from one.")
    # Sorted before the draw, so that the order of files and lists does not matter.
    order = np.random.default_rng(split.seed).permutation(len(names))
    free = [names[i] for i in order if names[i] not in {*test, *val}]
    n_test = 0 if test else max(1, round(split.test * len(names)))
    n_val = 0 if val else max(1, round(split.val * len(names)))
    while n_test + n_val > len(free) - 1 and max(n_test, n_val) > 1:
        n_test, n_val = (n_test - 1, n_val) if n_test >= n_val else (n_test, n_val - 1)
    if n_test + n_val > len(free) - 1:
        raise ParamsError(
            f"split.test_scenes and split.val_scenes leave {len(free)} of {len(names)} scenes, expected one scene or "
            "more for each part; list fewer scenes."
        )
    test, val = test or free[:n_test], val or free[n_test : n_test + n_val]
    train = [name for name in names if name not in {*test, *val}]
    return {"train": train, "val": sorted(val), "test": sorted(test)}


def _whole(name: str, shape: tuple[int, int]) -> Region:
    return Region(name, 0, shape[0], 0, shape[1])


def _by_region(shapes: Mapping[str, tuple[int, int]], split: SplitParams, scale: int) -> dict[str, list[Region]]:
    parts: dict[str, list[Region]] = {part: [] for part in SPLITS}
    guard = -(-split.guard // scale) * scale
    for name in sorted(shapes):
        scene = _whole(name, shapes[name])
        train, held_out = _cut(scene, split.val + split.test, guard=guard, scale=scale)
        val, test = _cut(held_out, split.test / (split.val + split.test), guard=guard, scale=scale)
        regions = (train, val, test)
        if any(min(region.shape) < scale for region in regions):
            sizes = ", ".join(f"{part} {_size(region)}" for part, region in zip(SPLITS, regions, strict=True))
            raise DataError(
                f"Scene {name!r} with {_size(scene)} pixels is too small for regions with guards of {guard} pixels "
                f"between them: {sizes}. Lower split.val, split.test or split.guard, or provide three scenes."
            )
        for part, region in zip(SPLITS, regions, strict=True):
            parts[part].append(region)
    return parts


def _by_list(shapes: Mapping[str, tuple[int, int]], split: SplitParams, scale: int) -> dict[str, list[Region]]:
    lists = {part: getattr(split.regions, part) for part in SPLITS}
    for part, texts in lists.items():
        if not texts:
            raise ParamsError(f"split.by is listed, but split.regions.{part} is empty; list its regions.")
    parts = {
        part: sorted((Region.parse(text) for text in texts), key=lambda r: (r.scene, r.y0, r.x0))
        for part, texts in lists.items()
    }
    for region in (region for part in SPLITS for region in parts[part]):
        _check_inside(region, shapes, scale)
    everything = [(part, region) for part in SPLITS for region in parts[part]]
    for (part, one), (other_part, other) in combinations(everything, 2):
        guard = 0 if part == other_part else split.guard
        if one.scene == other.scene and (one.gap(other) < guard):
            raise ParamsError(
                f"split.regions: {one} ({part}) and {other} ({other_part}) "
                + (f"lie {one.gap(other)} pixels apart, " if one.gap(other) >= 0 else "overlap, ")
                + f"expected at least {guard} (split.guard between parts); move one of them."
            )
    return parts


def _check_inside(region: Region, shapes: Mapping[str, tuple[int, int]], scale: int) -> None:
    if region.scene not in shapes:
        raise ParamsError(f"split.regions: no scene {region.scene!r}; there are {', '.join(sorted(shapes))}.")
    height, width = shapes[region.scene]
    if region.y1 > height or region.x1 > width:
        raise ParamsError(f"split.regions: {region} exceeds its scene of {height} x {width} pixels; shrink the region.")
    if region.shape[0] % scale or region.shape[1] % scale:
        raise ParamsError(
            f"split.regions: {region} has {_size(region)} pixels, expected multiples of the scale {scale}; "
            "change its ends accordingly."
        )


def _cut(region: Region, share: float, *, guard: int, scale: int) -> tuple[Region, Region]:
    """Cut across the longer side, so that no part becomes a thin strip.

    The second part gets `share` of the length without the guard. A part without space is empty.
    """
    height, width = region.shape
    length = max(0, max(height, width) - guard)
    second = min(max(scale, round(share * length / scale) * scale), length)
    first = length - second
    if height >= width:
        return replace(region, y1=region.y0 + first), replace(region, y0=region.y1 - second)
    return replace(region, x1=region.x0 + first), replace(region, x0=region.x1 - second)


def _size(region: Region) -> str:
    return f"{region.shape[0]} x {region.shape[1]}"
