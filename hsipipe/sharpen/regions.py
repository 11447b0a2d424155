"""Divide a scene into disjoint regions for fitting, choosing and judging: index arithmetic on sums of errors.

Regions are strips across the scene, with a gap between them where the size allows it; docs/adr/0025-regions-and-time.md
says why. All boxes are pixels of the scene and multiples of the scale, so that an LR pixel belongs to one region.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.inference.plan import Box

LEAST_EDGE = 4
"""Smallest edge of a scene in LR pixels."""
LEAST_ACROSS, LEAST_ALONG = 6, 10
"""Smallest edges of a scene in LR pixels in which a network is fitted: across the strips and along them."""
WIDEST_GAP = 4
"""Widest gap between two regions in LR pixels; PSF and interpolation reach less far."""
_CHOOSE, _JUDGE = 0.15, 0.3
_LEAST_VALID = 0.25
Errors = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Regions:
    """The regions of a scene.

    Attributes:
        fit: Where a network is fitted; None: the scene is too small for it.
        choose: Where the best candidate is chosen.
        judge: Where the chosen candidate is judged.
        gap: Pixels between two of them.
    """

    fit: Box | None
    choose: Box
    judge: Box
    gap: int


def plan_regions(error: Errors, valid: NDArray[np.bool_], *, scale: int) -> Regions:
    """Choose the regions that represent the scene best.

    Of all orders of the three strips, along rows and along columns, the one is taken in which the errors of
    interpolation in the regions for judging and choosing are most like those of the whole scene.

    Args:
        error: Squared error of interpolation (C, H, W).
        valid: Pixels with data (H, W).
        scale: Ratio of the pixel sizes s, which divides H and W.

    Raises:
        DataError: The scene is too small, or has too few pixels with data.
    """
    check_size(*valid.shape, scale=scale)
    whole = _mean_error(error, valid, Box(0, valid.shape[0], 0, valid.shape[1]))
    found: list[tuple[float, Regions]] = []
    for regions in _layouts(*valid.shape, scale=scale):
        boxes = [box for box in (regions.fit, regions.choose, regions.judge) if box is not None]
        if min(float(valid[box.slices()[1:]].mean()) for box in boxes) >= _LEAST_VALID:
            judge, choose = (
                _distance(_mean_error(error, valid, box), whole) for box in (regions.judge, regions.choose)
            )
            found.append((2 * judge + choose, regions))
    if not found:
        raise DataError(
            f"Only {valid.mean():.0%} of the pixels have data in every band, too few for three regions with "
            f"{_LEAST_VALID:.0%} each; cut out a part with more data, or apply fewer masks (--masks fill)."
        )
    return min(found, key=lambda entry: entry[0])[1]


def check_size(height: int, width: int, *, scale: int) -> None:
    """Check that a scene is large enough to choose and judge at reduced resolution.

    Raises:
        DataError: It is too small; the message says how many pixels are needed.
    """
    least = LEAST_EDGE * scale
    if min(height, width) < least:
        raise DataError(
            f"The scene of {height} x {width} pixels is too small at scale {scale}: at least {least} x {least} are "
            f"needed, and {LEAST_ALONG * scale} x {LEAST_ACROSS * scale} to train a network; use a smaller scale."
        )


def can_fit(height: int, width: int, *, scale: int) -> bool:
    """Return True if a scene is large enough to fit a network in a part of it."""
    short, long = sorted((height // scale, width // scale))
    return short >= LEAST_ACROSS and long >= LEAST_ALONG


def _layouts(height: int, width: int, *, scale: int) -> Iterator[Regions]:
    """Iterate over all orders of the strips, along rows and along columns."""
    fits = can_fit(height, width, scale=scale)
    for axis, size in enumerate((height, width)):
        along, across = size // scale, (width, height)[axis]
        if fits and (along < LEAST_ALONG or across // scale < LEAST_ACROSS):
            continue
        lengths, gap = _lengths(along, fits=fits)
        for order in permutations(range(len(lengths))):
            spans, start = {}, 0
            for part in order:
                spans[part] = (start * scale, (start + lengths[part]) * scale)
                start += lengths[part] + gap
            boxes = [Box(*spans[part], 0, across) if axis == 0 else Box(0, across, *spans[part]) for part in spans]
            by_part = dict(zip(spans, boxes, strict=True))
            yield Regions(by_part.get(2), by_part[0], by_part[1], gap * scale)


def _lengths(along: int, *, fits: bool) -> tuple[list[int], int]:
    """Return the lengths of the regions to choose, to judge and to fit, and the gap, in LR pixels."""
    if not fits:
        return [along // 2, along - along // 2], 0
    gap = min(WIDEST_GAP, (along - LEAST_ALONG) // 6)
    free = along - 2 * gap
    choose, judge = max(2, round(_CHOOSE * free)), max(3, round(_JUDGE * free))
    return [choose, judge, free - choose - judge], gap


def _mean_error(error: Errors, valid: NDArray[np.bool_], box: Box) -> NDArray[np.float64]:
    """Return the mean squared error of each band (C,) over the pixels of a box with data."""
    inside = valid[box.slices()[1:]]
    return np.asarray(error[box.slices()][:, inside].mean(axis=1, dtype=np.float64)) if inside.any() else np.zeros(1)


def _distance(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Return the difference of two sets of errors (C,) in bels: of their mean PSNR."""
    tiny = 1e-20
    return abs(float(np.mean(np.log10((part + tiny) / (whole + tiny)))))
