"""Decide whether a challenger may replace the champion: thresholds on paired differences, bootstrapped over scenes.

The percentile bootstrap of Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13, on the mean of
paired differences. It resamples scenes and not pixels, because the pixels of a scene are not independent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.evaluation.score_method import finite
from hsipipe.params import GateParams

METRICS = ("mpsnr_db", "sam_deg", "ergas", "consistency_psnr_db")
"""Keys that the scores of each scene must have."""
Scores = Mapping[str, Mapping[str, float]]
"""Scene to metric to value."""


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    Attributes:
        metric: Key of the compared metric.
        champion: Mean over the scenes of the champion.
        challenger: Mean over the scenes of the challenger.
        difference: Mean over scenes of challenger minus champion; for ERGAS relative to the champion's; for the latency
            the ratio of the two.
        bound: Bootstrap bound of the difference, on the side that speaks against the challenger.
        threshold: Limit that the bound is compared with.
        passed: Whether the condition holds.
        text: The check in one sentence.
    """

    metric: str
    champion: float
    challenger: float
    difference: float
    bound: float
    threshold: float
    passed: bool
    text: str


@dataclass(frozen=True)
class Decision:
    """The decision of the gate.

    Attributes:
        promote: Whether the challenger may become the champion.
        scenes: Names of the compared scenes.
        checks: One for each condition.
        reasons: Reasons against promotion; empty if the challenger may be promoted.
    """

    promote: bool
    scenes: tuple[str, ...]
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Convert to a tree for strict JSON; numbers that are not finite become None."""
        tree: dict[str, Any] = finite(asdict(self))
        return tree


def decide(
    challenger: Scores, champion: Scores, *, latency_s: tuple[float, float] | None, gate: GateParams
) -> Decision:
    """Judge a challenger against a champion.

    Args:
        challenger: Scores of each scene, with at least the keys of :data:`METRICS`.
        champion: Scores of the champion on the same scenes.
        latency_s: Seconds of one prediction of challenger and champion, timed in turn; None if there is no champion and
            the challenger is compared with interpolation, whose time does not count.
        gate: The thresholds.

    Raises:
        DataError: The two were not scored on the same scenes.
    """
    if challenger.keys() != champion.keys():
        raise DataError(
            f"The challenger was scored on {', '.join(challenger) or 'no scene'}, the champion on "
            f"{', '.join(champion) or 'no scene'}; both must be scored on the same scenes."
        )
    scenes = tuple(sorted(challenger))
    if len(scenes) < gate.min_scenes:
        reason = (
            f"{len(scenes)} test scenes that neither model was trained on, expected at least {gate.min_scenes} "
            "(gate.min_scenes); name test scenes that stay in split.test_scenes"
        )
        return Decision(False, scenes, (), (reason,))
    new, old = (_columns(scores, scenes) for scores in (challenger, champion))
    checks = [
        _gain(new["mpsnr_db"], old["mpsnr_db"], gate),
        _sam(new["sam_deg"], old["sam_deg"], gate),
        _ergas(new["ergas"], old["ergas"], gate),
        _consistency(new["consistency_psnr_db"], old["consistency_psnr_db"], gate),
    ]
    if latency_s is not None:
        checks.append(_latency(*latency_s, gate))
    reasons = tuple(check.text for check in checks if not check.passed)
    return Decision(not reasons, scenes, tuple(checks), reasons)


def bound(differences: NDArray[np.float64], *, upper: bool, gate: GateParams) -> float:
    """One-sided bootstrap bound of the mean of paired differences.

    Args:
        differences: One per scene, (n,).
        upper: The upper bound, else the lower one.
        gate: Confidence, resamples and seed.

    Returns:
        Percentile of the resampled means; NaN if a difference is NaN; for a single scene, its difference.
    """
    if not np.isfinite(differences).all():
        return math.nan
    rng = np.random.default_rng(gate.seed)
    drawn = rng.integers(0, len(differences), size=(gate.resamples, len(differences)))
    means = differences[drawn].mean(axis=1)
    # No interpolation: a value between two resampled means occurs in no resample.
    level, method = (gate.confidence, "higher") if upper else (1 - gate.confidence, "lower")
    return float(np.quantile(means, level, method=method))  # type: ignore[call-overload]


def _columns(scores: Scores, scenes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    return {metric: np.array([float(scores[scene][metric]) for scene in scenes]) for metric in METRICS}


def _gain(new: NDArray[np.float64], old: NDArray[np.float64], gate: GateParams) -> Check:
    gain = new - old
    low, least = bound(gain, upper=False, gate=gate), gate.min_gain_db
    text = (
        f"MPSNR {_of(old)} -> {_of(new)} dB: {gain.mean():+.3f} dB, at {_level(gain, gate)} confidence at least "
        f"{low:+.3f}, must be above {least:g}"
    )
    return _check("mpsnr_db", (new, old), gain.mean(), low, least, passed=low > least, text=text)


def _sam(new: NDArray[np.float64], old: NDArray[np.float64], gate: GateParams) -> Check:
    rise = new - old
    high, most = bound(rise, upper=True, gate=gate), gate.max_sam_rise_deg
    text = (
        f"SAM {_of(old)} -> {_of(new)} degrees: {rise.mean():+.3f}, at {_level(rise, gate)} confidence at most "
        f"{high:+.3f}, may rise by {most:g}"
    )
    return _check("sam_deg", (new, old), rise.mean(), high, most, passed=high <= most, text=text)


def _ergas(new: NDArray[np.float64], old: NDArray[np.float64], gate: GateParams) -> Check:
    rise = (new - old) / np.where(old > 0, old, np.nan)
    high, most = bound(rise, upper=True, gate=gate), gate.max_ergas_rise
    text = (
        f"ERGAS {_of(old)} -> {_of(new)}: {rise.mean():+.1%}, at {_level(rise, gate)} confidence at most {high:+.1%}, "
        f"may rise by {most:.1%}"
    )
    return _check("ergas", (new, old), rise.mean(), high, most, passed=high <= most, text=text)


def _consistency(new: NDArray[np.float64], old: NDArray[np.float64], gate: GateParams) -> Check:
    # The PSNR is infinite for an exactly consistent prediction; above "enough", differences do not matter.
    enough, most = gate.enough_consistency_db, gate.max_consistency_drop_db
    change = np.minimum(new, enough) - np.minimum(old, enough)
    low = bound(change, upper=False, gate=gate)
    text = (
        f"Consistency {_of(old)} -> {_of(new)} dB: at {_level(change, gate)} confidence at least {low:+.2f} below "
        f"{enough:g} dB, may drop by {most:g}"
    )
    return _check("consistency_psnr_db", (new, old), change.mean(), low, -most, passed=low >= -most, text=text)


def _latency(new: float, old: float, gate: GateParams) -> Check:
    ratio, most = (new / old if old > 0 else math.nan), gate.max_latency_ratio
    text = f"Latency {1e3 * old:.1f} -> {1e3 * new:.1f} ms: {ratio:.2f} times, may be {most:g} times"
    return _check(
        "latency", (np.array([new]), np.array([old])), ratio, ratio, most, passed=bool(ratio <= most), text=text
    )


def _check(
    metric: str,
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    difference: float,
    edge: float,
    threshold: float,
    *,
    passed: bool,
    text: str,
) -> Check:
    new, old = (float(value.mean()) for value in values)
    return Check(metric, old, new, float(difference), float(edge), threshold, bool(passed), text)


def _level(differences: NDArray[np.float64], gate: GateParams) -> str:
    """The highest confidence that n scenes allow: their worst value is a bound with probability 1 - 2^-n."""
    return f"{min(gate.confidence, 1 - 0.5 ** len(differences)):.0%}"


def _of(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.2f}"
