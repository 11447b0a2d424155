"""Range, mean and gaps of the values of a result, found while it is written."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ValuesFound:
    """Statistics of the finite values of an image, in its units.

    Attributes:
        low: The smallest; None: there is none.
        high: The largest; None: there is none.
        total: Their sum.
        finite: Their number.
        count: Number of all values.
    """

    low: float | None
    high: float | None
    total: float
    finite: int
    count: int

    @classmethod
    def of(cls, image: NDArray[np.floating[Any]]) -> Self:
        """Look at an image of any shape."""
        values = image
        # A NaN spreads to the minimum, so that an image without one is looked at as it is.
        if not (image.size and np.isfinite(image.min()) and np.isfinite(image.max())):
            values = image[np.isfinite(image)]
        if not values.size:
            return cls(None, None, 0.0, 0, image.size)
        total = float(values.sum(dtype=np.float64))
        return cls(float(values.min()), float(values.max()), total, values.size, image.size)

    @classmethod
    def joined(cls, parts: Iterable["ValuesFound"]) -> Self:
        """Join the statistics of parts of an image; the result does not depend on their order."""
        found = list(parts)
        lows = [part.low for part in found if part.low is not None]
        highs = [part.high for part in found if part.high is not None]
        return cls(
            min(lows, default=None),
            max(highs, default=None),
            math.fsum(part.total for part in found),
            sum(part.finite for part in found),
            sum(part.count for part in found),
        )

    @property
    def mean(self) -> float | None:
        """Mean of the finite values."""
        return self.total / self.finite if self.finite else None

    @property
    def missing_share(self) -> float:
        """Share of the values that are NaN or infinite."""
        return 1 - self.finite / self.count if self.count else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


Found = Callable[[ValuesFound], None]
