"""Samples of a prediction: their mean and deviation, and how well they foretell the truth."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Batch = NDArray[np.float32]
INTERVAL = 0.9
"""Probability of the interval whose coverage is calibrated and measured."""


def moments(samples: Iterable[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute mean and standard deviation (K - 1 in its denominator) of K samples; the latter is zero for K = 1.

    Source: Welford 1962, https://doi.org/10.1080/00401706.1962.10490022, running moments.

    Args:
        samples: At least one; all of the same shape.
    """
    mean, squares, count = np.zeros((), np.float32), np.zeros((), np.float32), 0
    for count, sample in enumerate(samples, start=1):
        away = sample - mean
        mean = mean + away / np.float32(count)
        squares = squares + away * (sample - mean)
    return mean, np.sqrt(squares / np.float32(max(1, count - 1)))


ONE_STEP = "Trained to predict in one step, as a regression."
"""Sentence on a network of a diffusion that is a trained baseline."""


class MeanOfSamples(ABC):
    """A model whose prediction is the mean of samples, which are not calibrated; see :class:`SampleResolver`."""

    averages: ClassVar[bool] = True
    interval_scale: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def sample_nfe(self) -> int:
        """Network evaluations of a sample."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """Number K of samples that a prediction averages; 1 if all samples would be equal."""

    @property
    def nfe(self) -> int:
        """Network evaluations per image: samples times steps."""
        return self.samples * self.sample_nfe

    @abstractmethod
    def draw(
        self, lr: Batch, *, count: int, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)
    ) -> Iterator[Batch]:
        """Draw samples of a batch; see :meth:`SampleResolver.draw`."""

    def predict_with_spread(
        self, lr: Batch, *, count: int, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)
    ) -> tuple[Batch, Batch]:
        """Return mean and standard deviation of samples; see :meth:`SampleResolver.predict_with_spread`."""
        return moments(self.draw(lr, count=count, msi=msi, origin=origin))


def interval_factor(count: int, probability: float = INTERVAL, *, around_mean: bool) -> float:
    """Half the width of a central interval in standard deviations of `count` samples.

    It holds a further draw from a normal distribution, by Student's distribution. Quantiles of few samples would be far
    too narrow: 8 samples have no 5 % quantile.

    Args:
        count: Number K of samples, at least 2.
        probability: Probability of the interval.
        around_mean: The centre is the mean of these samples, whose own error adds to the width; else it is a mean that
            is known without them.
    """
    factor = float(student.ppf((1 + probability) / 2, count - 1))
    return factor * math.sqrt(1 + 1 / count) if around_mean else factor


def fair_crps(values: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Fair continuous ranked probability score of K values: mean_k |x_k - y| - sum_kl |x_k - x_l| / (2 K (K - 1)).

    For one value it is the absolute error.
    Source: Ferro 2014, https://doi.org/10.1002/qj.2270, eq. 8; by sorting, the sum of all pairs takes one pass.

    Args:
        values: (K, ...).
        truth: (...).
    """
    ordered = np.sort(values.astype(np.float64), axis=0)
    count = len(ordered)
    score: NDArray[np.float64] = np.abs(ordered - truth).mean(axis=0)
    if count > 1:
        weights = 2 * np.arange(1, count + 1) - count - 1.0
        score = score - np.tensordot(weights, ordered, axes=1) / (count * (count - 1))
    return score
