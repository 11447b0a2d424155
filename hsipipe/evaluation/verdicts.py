"""Plain sentences on the results, favourable or not, for display with every table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hsipipe.protocols.metrics import METRIC

REGRESSION = "-regression"
"""Suffix of the name of a trained baseline: the same network as the method's, trained to predict in one step."""
_COVERED = 2.0
"""Difference of coverage from 90 % that is calibrated."""
# An error of 1e-6 of the full range, below the step of 16-bit data (1.5e-5), counts as lossless.
LOSSLESS_DB = 120.0
"""MPSNR in dB above which a ceiling counts as lossless."""
_PSNR, _SAM = METRIC["mpsnr_db"], METRIC["sam_deg"]


@dataclass(frozen=True)
class Verdict:
    """One sentence.

    Attributes:
        ok: False for a warning: the sentence speaks against a method, or limits the claim.
        text: The sentence.
    """

    ok: bool
    text: str


def judge(metrics: Mapping[str, Any]) -> list[Verdict]:
    """Compare the best method with the first row and the next best, and each diffusion with its trained baseline.

    Also report every method below the first row, and every diffusion that evaluates its network only once and has its
    trained baseline in the table. A row whose training was not completed is named, and compared with nothing.

    Args:
        metrics: The tree of metrics.json; ``models`` with their ``kind``, and ``scenes``.
    """
    faults, first = metrics.get("faults", {}), baseline_of(metrics)
    left_out = [
        Verdict(False, f"{name} is in no comparison: {text}.") for name, text in faults.items() if name != first
    ]
    rows = {name: row for name, row in metrics["models"].items() if name not in faults or name == first}
    return _compare({**metrics, "models": rows}, first) + left_out


def _compare(metrics: Mapping[str, Any], first: str | None) -> list[Verdict]:
    rows = metrics["models"]
    names = [name for name, row in rows.items() if row.get("kind") != "ceiling"]
    if first is None or len(names) < 2:
        return []
    # A posterior predicts what its regression predicts, and a heteroscedastic regression too.
    doubles = {name for name in names if any(same(rows, name, other) for other in names[: names.index(name)])}
    others = [name for name in names if name != first and name not in doubles]
    ranked = sorted(others, key=lambda name: -_sortable(rows[name]))
    if not ranked:
        return []
    best = ranked[0]
    verdicts = [_psnr(metrics, best, first, first), _sam(rows, best, first)]
    if len(ranked) > 1:
        verdicts.append(_psnr(metrics, best, ranked[1], f"{ranked[1]}, the next best"))
    verdicts += [_psnr(metrics, name, first, first) for name in ranked[1:] if not _above(rows, name, first)]
    for name in names:
        twin = f"{name}{REGRESSION}"
        if (uncertainty := metrics.get("uncertainty", {}).get(name)) is not None:
            verdicts += _samples(metrics, name, uncertainty)
        if twin not in rows or same(rows, name, twin):
            continue
        if {name, twin} != set(ranked[:2]):
            verdicts.append(_psnr(metrics, name, twin, twin))
        if rows[name].get("nfe") == 1:
            verdicts.append(_one_evaluation(name, twin))
    pca = [name for name, row in rows.items() if row.get("kind") == "ceiling" and name.startswith("pca-")]
    if pca and "ae-ceiling" in rows:
        verdicts.append(_ceilings(rows, pca[0]))
    return verdicts


def baseline_of(metrics: Mapping[str, Any]) -> str | None:
    """Name of the baseline, the row that gains are measured against: the first.

    Args:
        metrics: The tree of metrics.json.
    """
    known = metrics.get("baseline")
    return str(known) if known else next(iter(metrics["models"]), None)


def marked(metrics: Mapping[str, Any], name: str) -> str:
    """Return the name of a row, marked if its training was not completed."""
    return f"{name} (!)" if name in metrics.get("faults", {}) else name


def _sortable(row: Mapping[str, Any]) -> float:
    value = _number(row["mpsnr_db"])
    return -math.inf if math.isnan(value) else value


def _above(rows: Mapping[str, Any], name: str, other: str) -> bool:
    return _number(rows[name]["mpsnr_db"]) > _number(rows[other]["mpsnr_db"])


def _psnr(metrics: Mapping[str, Any], name: str, other: str, label: str) -> Verdict:
    rows = metrics["models"]
    mine, its = _number(rows[name][_PSNR.key]), _number(rows[other][_PSNR.key])
    gain = mine - its
    if not math.isfinite(gain):
        return Verdict(False, f"{name} cannot be compared with {label}: an MPSNR is not finite.")
    numbers = f"{_PSNR.text(mine)} against {_PSNR.text(its)}{_scenes(metrics, name, other)}"
    if gain > 0:
        return Verdict(True, f"{name} is {amount(gain)} dB MPSNR above {label} ({numbers}).")
    return Verdict(False, f"{name} is NOT above {label}: it is {amount(-gain)} dB MPSNR below it ({numbers}).")


def _sam(rows: Mapping[str, Any], name: str, other: str) -> Verdict:
    mine, its = _number(rows[name][_SAM.key]), _number(rows[other][_SAM.key])
    rise = mine - its
    if not math.isfinite(rise):
        return Verdict(False, f"The SAM of {name} and {other} cannot be compared: one is not defined.")
    numbers = f"{_SAM.text(mine)} against {_SAM.text(its)}"
    if rise > 0:
        text = f"{name} has WORSE spectra than {other}: its SAM is {amount(rise)} degrees higher"
        return Verdict(False, f"{text} ({numbers}).")
    return Verdict(True, f"The SAM of {name} is {amount(-rise)} degrees below {other}'s ({numbers}).")


def same(rows: Mapping[str, Any], name: str, other: str) -> bool:
    """Return True if two rows have the same prediction."""
    keys = (_PSNR.key, _SAM.key, "ergas")
    return all(rows[name].get(key) is not None and rows[name][key] == rows[other].get(key) for key in keys)


def _samples(metrics: Mapping[str, Any], name: str, uncertainty: Mapping[str, Any]) -> list[Verdict]:
    """Compare the samples of a row with its prediction alone, and with the scale alone where that is a row."""
    row, verdicts = metrics["models"][name], []
    covered, crps = (_number(row.get(key)) for key in ("coverage_90", "crps"))
    mae = _number(uncertainty.get("mean_absolute_error"))
    if math.isfinite(covered):
        text = f"The 90 % intervals of {name} hold {covered:.1f} % of the values"
        verdicts.append(Verdict(abs(covered - 90) <= _COVERED, f"{text}."))
    if math.isfinite(crps / mae if mae else math.nan):
        text = f"The samples of {name} have a CRPS of {crps / mae:.2f} times the mean absolute error of its prediction"
        verdicts.append(Verdict(crps < mae, f"{text} (0.71 is ideal for normal errors)."))
    twins = [
        other
        for other, numbers in metrics["uncertainty"].items()
        if not numbers.get("sample_nfe") and same(metrics["models"], name, other)
    ]
    base = next(iter(twins), "") if uncertainty.get("sample_nfe") else ""
    other = _number(metrics["models"].get(base, {}).get("crps"))
    if math.isfinite(crps / other if other else math.nan):
        change = 100 * (crps / other - 1)
        side = "below" if change < 0 else "NOT below"
        verdicts.append(Verdict(change < 0, f"The CRPS of {name} is {side} that of {base}: {change:+.1f} %."))
    return verdicts


def _one_evaluation(name: str, twin: str) -> Verdict:
    return Verdict(
        False,
        f"{name} evaluates its network once per image (NFE 1), so nothing is sampled: its prediction is the network's "
        f"estimate of the mean, the same kind of prediction as {twin}.",
    )


def _ceilings(rows: Mapping[str, Any], pca: str) -> Verdict:
    ae, linear = _number(rows["ae-ceiling"]["mpsnr_db"]), _number(rows[pca]["mpsnr_db"])
    # An error of zero gives an infinite PSNR, which is None in JSON.
    if math.isnan(linear) or linear > LOSSLESS_DB:
        return Verdict(
            False,
            f"{pca} is lossless: the truth needs no more components than the latents have channels, so there is "
            f"no bound to judge ae-ceiling by.{_own_decoding(rows, ae)}",
        )
    gap = ae - linear
    if not math.isfinite(gap):
        return Verdict(False, f"ae-ceiling and {pca} cannot be compared: an MPSNR is not finite.")
    numbers = f"{_PSNR.text(ae)} against {_PSNR.text(linear)}"
    if gap >= 0:
        text = f"ae-ceiling is {amount(gap)} dB MPSNR above {pca} ({numbers})."
    else:
        text = (
            f"ae-ceiling is {amount(-gap)} dB MPSNR BELOW {pca} ({numbers}): "
            "the latents hold less than a linear projection of the same size."
        )
    return Verdict(gap >= 0, text + _own_decoding(rows, ae))


def _own_decoding(rows: Mapping[str, Any], ae: float) -> str:
    """Sentence on how far the model's own decoding, which does more than the autoencoder alone, moves the bound."""
    latent = _number(rows.get("latent-ceiling", {}).get("mpsnr_db"))
    if not math.isfinite(latent - ae):
        return ""
    moved = "lifts the model's bound to" if latent > ae else "does not lift the model's bound; it is"
    return (
        f" The model's own decoding of its latents (residual decoding and consistency, as set in `sampling`) {moved} "
        f"{_PSNR.text(latent)} (latent-ceiling)."
    )


def _scenes(metrics: Mapping[str, Any], name: str, other: str) -> str:
    scenes = [row for row in metrics.get("scenes", {}).values() if name in row and other in row]
    if not scenes:
        return ""
    wins = sum(_number(row[name]["mpsnr_db"]) > _number(row[other]["mpsnr_db"]) for row in scenes)
    return f"; above it on {wins} of {len(scenes)} test scene{'' if len(scenes) == 1 else 's'}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def amount(value: float) -> str:
    """Format the size of a difference; one that is not zero is never rounded to zero."""
    # abs() also turns minus zero into zero.
    value = abs(value)
    return f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.1g}"
