"""Test whether the spread of a model's samples predicts its error.

If the truth is one more draw from the distribution that the K samples come from, with the variance sigma^2, the
expected squared error of the mean of the distribution is sigma^2, and that of the mean of the samples sigma^2 (1 + 1/K)
(Fortin et al. 2014, DOI 10.1175/JHM-D-14-0008.1). Its root is the *predicted error* of a value.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNCERTAINTY_DEFINITIONS: Mapping[str, str] = {
    "samples": "samples K",
    "mean_absolute_error": "mean absolute error of the prediction; the CRPS of samples is to be below it",
    "spread_error_cc": "Pearson correlation of predicted error and absolute error over all values of all test scenes",
    "spread_ratio": "root mean square of the predicted errors over that of the errors; below 1 the model is too sure",
    "calibration_error": (
        "expected calibration error: values in bins of predicted error, mean over the values of the distance between "
        "the root mean squares of predicted error and error in their bin (full range 1)"
    ),
}
"""One sentence on each number of :func:`summary`."""

EDGES: NDArray[np.float64] = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 49), [np.inf]])
"""Edges of the bins of predicted error, eight per decade. All scenes share them, so their sums can be added."""

_ABOUT = 0.1
"""Largest absolute logarithm of error / predicted error at which the two count as equal: about ten percent."""

SUMS_SHAPE = (6, len(EDGES) - 1)
Sums = NDArray[np.float64]
"""(6, bins): count, and sums of p, e, p^2, e^2 and p e, of predicted errors p and absolute errors e in each bin."""


def calibration_sums(
    predicted: NDArray[np.floating[Any]], sr: NDArray[np.floating[Any]], hr: NDArray[np.floating[Any]]
) -> Sums:
    """Sum errors and predicted errors of a scene in bins of the predicted error; sums of several scenes can be added.

    Args:
        predicted: Predicted errors (C, H, W).
        sr: Prediction (C, H, W).
        hr: Truth (C, H, W).
    """
    sums = np.zeros(SUMS_SHAPE)
    for expected, a, b in zip(predicted, sr, hr, strict=True):
        p = expected.astype(np.float64).ravel()
        e = np.abs(a.astype(np.float64) - b).ravel()
        bins = np.searchsorted(EDGES, p, side="right") - 1
        for row, weights in enumerate((np.ones_like(p), p, e, p * p, e * e, p * e)):
            sums[row] += np.bincount(bins, weights, minlength=SUMS_SHAPE[1])
    return sums


def curve(sums: Sums, *, least_share: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The calibration curve.

    Args:
        sums: Sums of one scene or of several.
        least_share: Skip bins with a smaller share of the values, whose means are too uncertain.

    Returns:
        For each bin: root mean square of the predicted errors, that of the errors, and the share of the values.
    """
    share = sums[0] / sums[0].sum()
    kept = (sums[0] > 0) & (share >= least_share)
    count = sums[0, kept]
    return np.sqrt(sums[3, kept] / count), np.sqrt(sums[4, kept] / count), share[kept]


def summary(sums: Sums, *, samples: int) -> dict[str, float]:
    """The numbers of :data:`UNCERTAINTY_DEFINITIONS`; NaN where one is not defined."""
    count, p, e, pp, ee, pe = (float(total) for total in sums.sum(axis=1))
    predicted, observed, share = curve(sums, least_share=0.0)
    scatter = (count * pp - p * p) * (count * ee - e * e)
    return {
        "samples": samples,
        "mean_absolute_error": e / count if count > 0 else math.nan,
        "spread_error_cc": (count * pe - p * e) / math.sqrt(scatter) if scatter > 0 else math.nan,
        "spread_ratio": math.sqrt(pp / ee) if ee > 0 else math.nan,
        "calibration_error": float((share * np.abs(predicted - observed)).sum()),
    }


def sentence(numbers: Mapping[str, float | None]) -> str:
    """Summarise the numbers of :func:`summary` in one sentence."""
    ratio = numbers["spread_ratio"]
    if ratio is None or not math.isfinite(ratio):
        return "There is no error to compare the spread with."
    if ratio == 0:
        return "The samples do not differ: their spread says nothing of the error."
    if abs(math.log(ratio)) < _ABOUT:
        return f"The errors are about as large as the spread predicts ({1 / ratio:.2f} times, root mean square)."
    side = "too small: the model is surer than it should be" if ratio < 1 else "too large"
    return f"The spread is {side}. The errors are {1 / ratio:.3g} times those predicted (root mean square)."
