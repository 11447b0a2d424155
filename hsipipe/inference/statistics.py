"""Statistics of the samples of a scene: mean, standard deviation, quantiles."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import ParamsError
from hsipipe.inference.scene import predict_scene, predict_scene_with_spread
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
            ParamsError: It is none of these.
        """
        if text in ("mean", "std"):
            return cls("mean" if text == "mean" else "std")
        found = _QUANTILE.fullmatch(text)
        if found is None or float(found[1]) == 0:
            raise ParamsError(f"Got the statistic {text[:50]!r}, expected mean, std, or a quantile such as q0.05.")
        return cls("quantile", float(found[1]))

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
        return self.kind if self.kind != "quantile" else f"q{'0' if percent < 10 else ''}{percent:.4g}"

    def of(self, prediction: Image, std: Image, *, count: int, interval_scale: float) -> Image:
        """Compute the statistic.

        A quantile takes the samples as normally distributed around the prediction: few samples have no tails. Its
        distance is calibrated by `interval_scale`.

        Args:
            prediction: (C, H, W).
            std: Standard deviation of the samples (C, H, W).
            count: Number of samples, at least 2.
            interval_scale: Factor on the width of intervals.
        """
        if self.kind == "mean":
            return prediction
        if self.kind == "std":
            return std
        side = 2 * self.probability - 1
        factor = math.copysign(interval_factor(count, abs(side)), side) * interval_scale
        return prediction + np.float32(factor) * std


def predict_statistics(
    model: SuperResolver,
    lr: Image,
    statistics: Iterable[Statistic],
    *,
    count: int,
    tile: int,
    overlap: int,
    msi: Image | None = None,
    before_tile: Callable[[], None] | None = None,
) -> list[Image]:
    """Compute statistics of the samples of a scene; with equal samples their deviation is zero.

    Args:
        model: Super-resolver.
        lr: LR-HSI (C, h, w) float32.
        statistics: The wanted statistics.
        count: Number K of samples, at least 2.
        tile: Edge of a tile in LR pixels.
        overlap: Context on each side of a tile in LR pixels.
        msi: HR-MSI (c, H, W), for a fusion model.
        before_tile: Called before each tile.

    Raises:
        ParamsError: Less than two samples.
        ModelInputError: See :func:`predict_scene`.
    """
    if count < 2:
        raise ParamsError(f"Got {count} sample, expected at least 2: one has no spread.")
    place: dict[str, Any] = {"tile": tile, "overlap": overlap, "msi": msi, "before_tile": before_tile}
    scale = 1.0
    if isinstance(model, SampleResolver) and model.varies:
        prediction, std = predict_scene_with_spread(model, lr, count=count, **place)
        scale = model.interval_scale
    else:
        prediction = predict_scene(model, lr, **place)
        std = np.zeros_like(prediction)
    return [it.of(prediction, std, count=count, interval_scale=scale) for it in statistics]
