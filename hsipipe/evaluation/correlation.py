"""Pearson correlation from parts of two images, without loss of digits.

Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances", eq. 1.5 and
2.1: each part is centred on its own mean.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Correlation:
    """Sums of a part of two images; those of several parts are added.

    Attributes:
        count: Number of pixels.
        means: Mean of each image.
        squares: Sum of the squared deviations from the mean, of each image.
        product: Sum of the products of the deviations.
        low: Smallest value of each image.
        high: Largest value of each image.
    """

    count: int
    means: tuple[float, float]
    squares: tuple[float, float]
    product: float
    low: tuple[float, float]
    high: tuple[float, float]

    @classmethod
    def of(cls, a: NDArray[np.float64], b: NDArray[np.float64]) -> Self:
        """Sum over all pixels of two images of one shape."""
        means = (float(a.mean()), float(b.mean()))
        x, y = a - means[0], b - means[1]
        squares = (float(np.vdot(x, x)), float(np.vdot(y, y)))
        lows, highs = (float(a.min()), float(b.min())), (float(a.max()), float(b.max()))
        return cls(a.size, means, squares, float(np.vdot(x, y)), lows, highs)

    def __add__(self, other: "Correlation") -> "Correlation":
        """Return the sums of both parts."""
        count = self.count + other.count
        weight = self.count * other.count / count
        dx, dy = (two - one for one, two in zip(self.means, other.means, strict=True))
        share = other.count / count
        return Correlation(
            count,
            (self.means[0] + dx * share, self.means[1] + dy * share),
            (
                self.squares[0] + other.squares[0] + dx * dx * weight,
                self.squares[1] + other.squares[1] + dy * dy * weight,
            ),
            self.product + other.product + dx * dy * weight,
            (min(self.low[0], other.low[0]), min(self.low[1], other.low[1])),
            (max(self.high[0], other.high[0]), max(self.high[1], other.high[1])),
        )

    @property
    def is_constant(self) -> tuple[bool, bool]:
        """Tell of each image whether all its values are equal."""
        return self.low[0] == self.high[0], self.low[1] == self.high[1]

    @property
    def coefficient(self) -> float:
        """The correlation; 0 with a constant image."""
        if any(self.is_constant):
            return 0.0
        return float(np.clip(self.product / (math.sqrt(self.squares[0]) * math.sqrt(self.squares[1])), -1, 1))
