"""May a challenger replace the champion? Thresholds on paired differences, by a bootstrap over scenes.

The percentile bootstrap of Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13, on the mean of
paired differences: scenes are drawn, not pixels, because the pixels of a scene are no independent observations.
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
"""What each scene's scores must hold."""
Scores = Mapping[str, Mapping[str, float]]
"""Scene to metric to value."""


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    Attributes:
        metric: What was compared.
        champion: Its mean over the scenes.
        challenger: The challenger's.
        difference: Mean over scenes of challenger minus champion; of ERGAS its share of the champion's, of the latency
            the ratio.
        bound: Of the difference, on the side that speaks against the challenger.
        threshold: What the bound is held against.
        passed: Whether it holds.
        text: All of it in one sentence.
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
    """What the gate says.

    Attributes:
        promote: Whether the challenger may become the champion.
        scenes: The scenes that were compared.
        checks: Each condition.
        reasons: Why not; empty if it may.
    """

    promote: bool
    scenes: tuple[str, ...]
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As a tree for strict JSON: a number that is not finite is None."""
        tree: dict[str, Any] = finite(asdict(self))
        return tree


def decide(
    challenger: Scores, champion: Scores, *, latency_s: tuple[float, float] | None, gate: GateParams
) -> Decision:
    """Judge a challenger.

    Args:
        challenger: Scores of each scene, :data:`METRICS` at least.
        champion: The champion's of the same scenes.
        latency_s: Seconds of one prediction, the challenger's and the champion's, side by side; None where there is no
            champion, and the challenger is held against interpolation, which takes no time.
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
        differences: One a scene, (n,).
        upper: The upper bound, else the lower one.
        gate: Confidence, resamples and seed.

    Returns:
        The percentile of the resampled means; NaN where a difference is none; the only one of a single scene.
    """
    if not np.isfinite(differences).all():
        return math.nan
    rng = np.random.default_rng(gate.seed)
    drawn = rng.integers(0, len(differences), size=(gate.resamples, len(differences)))
    means = differences[drawn].mean(axis=1)
    # Not interpolated: between two means lies a value that no resample has.
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
    # Infinite where a prediction agrees exactly; beyond "enough" a difference means nothing.
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
    """The confidence that so few scenes can give at most: their worst value is a bound that holds 1 - 2^-n of times."""
    return f"{min(gate.confidence, 1 - 0.5 ** len(differences)):.0%}"


def _of(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.2f}"
