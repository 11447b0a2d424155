"""Plain sentences on what the numbers say, favourable or not; they stand above every table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BASELINE = "bicubic"


@dataclass(frozen=True)
class Verdict:
    """One sentence.

    Attributes:
        ok: Whether it speaks for the model.
        text: The sentence.
    """

    ok: bool
    text: str


def judge(metrics: Mapping[str, Any]) -> list[Verdict]:
    """Compare every model with bicubic and with each control, and the autoencoder with the PCA.

    Args:
        metrics: The tree of metrics.json; ``models`` with their ``kind``, and ``scenes``.
    """
    rows = metrics["models"]
    verdicts = []
    for name in _of_kind(rows, "model"):
        if BASELINE in rows:
            verdicts += [_psnr(metrics, name, BASELINE, BASELINE), _sam(rows, name)]
        verdicts += [_psnr(metrics, name, c, f"the control {c}") for c in _of_kind(rows, "control")]
    pca = [name for name in _of_kind(rows, "ceiling") if name.startswith("pca-")]
    if pca and "ae-ceiling" in rows:
        verdicts.append(_ceilings(rows, pca[0]))
    return verdicts


def _psnr(metrics: Mapping[str, Any], name: str, other: str, label: str) -> Verdict:
    rows = metrics["models"]
    mine, its = _number(rows[name]["mpsnr_db"]), _number(rows[other]["mpsnr_db"])
    gain = mine - its
    if not math.isfinite(gain):
        return Verdict(False, f"{name} cannot be compared with {label}: an MPSNR is not finite.")
    numbers = f"{mine:.2f} against {its:.2f}{_scenes(metrics, name, other)}"
    if gain > 0:
        return Verdict(True, f"{name} is {_amount(gain)} dB MPSNR above {label} ({numbers}).")
    return Verdict(False, f"{name} is NOT above {label}: it is {_amount(-gain)} dB MPSNR below it ({numbers}).")


def _sam(rows: Mapping[str, Any], name: str) -> Verdict:
    mine, its = _number(rows[name]["sam_deg"]), _number(rows[BASELINE]["sam_deg"])
    rise = mine - its
    if not math.isfinite(rise):
        return Verdict(False, f"The SAM of {name} and {BASELINE} cannot be compared: one is not defined.")
    numbers = f"{mine:.2f} against {its:.2f}"
    if rise > 0:
        text = f"{name} has WORSE spectra than {BASELINE}: its SAM is {_amount(rise)} degrees higher"
        return Verdict(False, f"{text} ({numbers}).")
    return Verdict(True, f"The SAM of {name} is {_amount(-rise)} degrees below {BASELINE}'s ({numbers}).")


def _ceilings(rows: Mapping[str, Any], pca: str) -> Verdict:
    ae, linear = _number(rows["ae-ceiling"]["mpsnr_db"]), _number(rows[pca]["mpsnr_db"])
    gap = ae - linear
    if not math.isfinite(gap):
        return Verdict(False, f"ae-ceiling and {pca} cannot be compared: an MPSNR is not finite.")
    numbers = f"{ae:.2f} against {linear:.2f}"
    if gap >= 0:
        return Verdict(True, f"ae-ceiling is {_amount(gap)} dB MPSNR above {pca} ({numbers}).")
    return Verdict(
        False,
        f"ae-ceiling is {_amount(-gap)} dB MPSNR BELOW {pca} ({numbers}): "
        "the latents hold less than a linear projection of the same size.",
    )


def _scenes(metrics: Mapping[str, Any], name: str, other: str) -> str:
    scenes = [row for row in metrics.get("scenes", {}).values() if name in row and other in row]
    if not scenes:
        return ""
    wins = sum(_number(row[name]["mpsnr_db"]) > _number(row[other]["mpsnr_db"]) for row in scenes)
    return f"; above it on {wins} of {len(scenes)} test scene{'' if len(scenes) == 1 else 's'}"


def _of_kind(rows: Mapping[str, Any], kind: str) -> list[str]:
    return [name for name, row in rows.items() if row.get("kind") == kind]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _amount(value: float) -> str:
    # A difference is never rounded to nothing; minus zero is zero.
    value = abs(value)
    return f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.1g}"
