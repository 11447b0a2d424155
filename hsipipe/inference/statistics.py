"""Statistics of the samples of a scene: mean, standard deviation, quantiles."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import ParamsError
from hsipipe.inference.guard import Guard, Judged, guarded
from hsipipe.inference.scene import (
    Predict,
    predict_scene,
    predict_scene_with_spread,
    predict_tile,
    predict_tile_with_spread,
)
from hsipipe.methods.samples import interval_factor
from hsipipe.methods.super_resolver import SampleResolver, SuperResolver

Image = NDArray[np.float32]
_QUANTILE = re.compile(r"q(0?\.\d+)")


@dataclass(frozen=True)
class Statistic:
    """A statistic of samples.

    Attributes:
        kind: Mean, standard deviation or quantile. The mean is the prediction of the model.
        probability: Probability of the quantile, between 0 and 1; else 0.
    """

    kind: Literal["mean", "std", "quantile"]
    probability: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Statistic":
        """Parse ``mean``, ``std``, or ``q0.05`` for a quantile.

        Raises:
            ParamsError: The text is no statistic.
        """
        if text in ("mean", "std"):
            return cls("mean" if text == "mean" else "std")
        found = _QUANTILE.fullmatch(text)
        if found is None:
            raise ParamsError(f"Got the statistic {text[:50]!r}, expected mean, std, or a quantile such as q0.05.")
        return cls.quantile(float(found[1]))

    @classmethod
    def quantile(cls, probability: float) -> "Statistic":
        """Return the quantile of a probability.

        Raises:
            ParamsError: The probability is not between 0 and 1.
        """
        if not 0 < probability < 1:
            raise ParamsError(f"Got the quantile {probability:g}, expected a probability between 0 and 1, as 0.05.")
        return cls("quantile", probability)

    @property
    def label(self) -> str:
        """Name for files: ``std``, ``q05``, ``q97.5``."""
        percent = 100 * self.probability
        return self.kind if self.kind != "quantile" else f"q{'0' if percent < 10 else ''}{percent:.6g}"

    def of(self, prediction: Image, spread: "Spread") -> Image:
        """Compute the statistic.

        A quantile takes the samples as normally distributed around the prediction: few samples have no tails. Its
        distance is calibrated.

        Args:
            prediction: (C, H, W).
            spread: Spread of the samples around it.
        """
        if self.kind == "mean":
            return prediction
        if self.kind == "std":
            return spread.std
        side = 2 * self.probability - 1
        factor = interval_factor(spread.count, abs(side), around_mean=spread.around_mean) * spread.interval_scale
        return prediction + np.float32(math.copysign(factor, side)) * spread.std


@dataclass(frozen=True)
class Spread:
    """The spread of samples around a prediction.

    Attributes:
        std: Standard deviation of the samples (C, H, W).
        count: Their number.
        around_mean: The prediction is their mean.
        interval_scale: Factor on the width of intervals.
    """

    std: Image
    count: int
    around_mean: bool = False
    interval_scale: float = 1.0


def guarded_statistics(
    model: SuperResolver,
    lr: Image,
    statistics: Iterable[Statistic],
    *,
    count: int | None,
    guard: Guard,
    tile: int,
    overlap: int,
    msi: Image | None = None,
    before_tile: Callable[[], None] | None = None,
    judged: Judged | None = None,
) -> tuple[list[Image], list[str]]:
    """Predict a scene, judge the prediction, and compute statistics around it.

    With equal samples the deviation is zero. Where the guard has replaced the prediction, it is NaN: the samples are of
    what was replaced.

    Args:
        model: Super-resolver.
        lr: LR-HSI (C, h, w) float32.
        statistics: The wanted statistics.
        count: Number K of samples, at least 2; None: no samples, for the mean alone.
        guard: What to do about a doubtful prediction, see :mod:`hsipipe.inference.guard`.
        tile: Edge of a tile in LR pixels.
        overlap: Context on each side of a tile in LR pixels.
        msi: HR-MSI (c, H, W), for a fusion model.
        before_tile: Called before each tile.
        judged: Called with the judgement of the prediction, unless `guard` is off.

    Returns:
        The statistics, and what speaks against the prediction.

    Raises:
        ParamsError: Less than two samples.
        ModelInputError: See :func:`predict_scene`.
    """
    place: dict[str, Any] = {"tile": tile, "overlap": overlap, "msi": msi}
    prediction, spread = _spread(model, lr, count, {**place, "before_tile": before_tile})
    if before_tile is not None:
        before_tile()
    image, told = guarded(model, lr, prediction, guard=guard, judged=judged, **place)
    if image is not prediction and spread.std.size:
        spread = replace(spread, std=np.where(image == prediction, spread.std, np.float32(np.nan)))
    return [it.of(image, spread) for it in statistics], told


def tile_images(model: SuperResolver, count: int | None) -> tuple[Predict, int]:
    """Return the function that predicts a tile, and the number of its images.

    These are the prediction and, if the model varies, the standard deviation of `count` samples.

    Raises:
        ParamsError: Less than two samples.
    """
    sampler = _sampler(model, count)
    if sampler is None or count is None:
        return predict_tile(model), 1
    return predict_tile_with_spread(sampler, count), 2


def spread_of(model: SuperResolver, images: Sequence[Image], count: int | None) -> Spread:
    """Return the spread by the images of :func:`tile_images`; that of a model that does not vary is zero."""
    if count is None:
        return Spread(np.empty(0, np.float32), 0)
    sampler = _sampler(model, count)
    if sampler is None:
        return Spread(np.zeros_like(images[0]), count)
    return Spread(images[1], count, sampler.averages, sampler.interval_scale)


def _spread(model: SuperResolver, lr: Image, count: int | None, place: dict[str, Any]) -> tuple[Image, Spread]:
    sampler = _sampler(model, count)
    if sampler is None or count is None:
        images = [predict_scene(model, lr, **place)]
    else:
        images = list(predict_scene_with_spread(sampler, lr, count=count, **place))
    return images[0], spread_of(model, images, count)


def _sampler(model: SuperResolver, count: int | None) -> SampleResolver | None:
    """Return the model if samples are wanted and it varies."""
    if count is not None and count < 2:
        raise ParamsError(f"Got {count} sample, expected at least 2: one has no spread.")
    return model if count is not None and isinstance(model, SampleResolver) and model.varies else None
