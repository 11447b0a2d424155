"""The answer in one sentence: the best method, and by how much it is better than the best without training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsipipe.evaluation.verdicts import amount, baseline_of, same
from hsipipe.protocols.metrics import METRIC

_PSNR, _SAM = METRIC["mpsnr_db"], METRIC["sam_deg"]


@dataclass(frozen=True)
class Headline:
    """The answer of a result table.

    Attributes:
        ok: A method is better than what it is compared with, in MPSNR and not worse in SAM.
        best: The row with the highest MPSNR; None: no row has a finite one.
        text: The sentences.
    """

    ok: bool
    best: str | None
    text: str


def headline(metrics: Mapping[str, Any]) -> Headline:
    """Compare the best row with the best row without training; ceilings and faulty trainings do not count.

    If the best row needs no training itself, compare it with the best trained row, or else with the next best.

    Args:
        metrics: The tree of metrics.json.
    """
    models = metrics["models"]
    ranked = [name for name, row in models.items() if _counts(metrics, name) and row[_PSNR.key] is not None]
    ranked.sort(key=lambda name: -models[name][_PSNR.key])
    count = len(metrics.get("scenes", {}))
    scenes = f"{count} test scene{'' if count == 1 else 's'}"
    if not ranked:
        return Headline(False, None, f"No row has a finite MPSNR on the {scenes}.")
    best, trained, fuses = ranked[0], set(metrics.get("trained", ())), set(metrics.get("fuses", ()))
    if perfect := [name for name, row in models.items() if _counts(metrics, name) and row[_PSNR.key] is None]:
        text = f"{perfect[0]} has the highest MPSNR: it is infinite, the mean over {scenes}."
        return Headline(perfect[0] in trained or not trained, perfect[0], text)
    lead = f"{best} has the highest MPSNR: {_PSNR.text(models[best][_PSNR.key])} dB, the mean over {scenes}."
    # A posterior predicts what its regression predicts.
    rest = [name for name in ranked[1:] if not same(models, best, name)]
    alike = [name for name in rest if (name in fuses) == (best in fuses)]
    other, role = _other([best, *(alike or rest)], trained, baseline_of(metrics))
    if other is None:
        return Headline(False, best, f"{lead} There is no other row to compare it with.")
    gain = models[best][_PSNR.key] - models[other][_PSNR.key]
    seen = " (which also sees the HR-MSI)" if best in fuses and other not in fuses else ""
    text = f"{lead} It{seen} is {f'{amount(gain)} dB above' if gain else 'equal to'} {other}, {role}"
    fall = _fall(models[best].get(_SAM.key), models[other].get(_SAM.key))
    if math.isfinite(fall):
        side = "lower" if fall >= 0 else "HIGHER"
        numbers = f"{_SAM.text(models[best][_SAM.key])}° against {_SAM.text(models[other][_SAM.key])}°"
        text += f"; its SAM is {amount(fall)}° {side} ({numbers})"
    wins = sum(_above(row, best, other) for row in metrics.get("scenes", {}).values())
    text += f". It is above {other} on {wins} of {scenes}."
    answers = best in trained or not trained
    text = text if answers else f"No trained method is the best. {text}"
    return Headline(answers and gain > 0 and not fall < 0, best, text)


def _counts(metrics: Mapping[str, Any], name: str) -> bool:
    """Return whether a row can be the best: no ceiling, and its training was completed."""
    return metrics["models"][name].get("kind") != "ceiling" and name not in metrics.get("faults", {})


def _other(ranked: Sequence[str], trained: set[str], baseline: str | None) -> tuple[str | None, str]:
    """The row that the best one is compared with, and its role in words."""
    best, rest = ranked[0], ranked[1:]
    plain = [name for name in rest if name not in trained]
    if best in trained:
        if plain:
            return plain[0], "the best row without training"
        return (baseline, "the first row") if baseline in rest else (next(iter(rest), None), "the next best row")
    learned = [name for name in rest if name in trained]
    if learned:
        return learned[0], "the best trained row"
    return next(iter(rest), None), "the next best row"


def _fall(mine: float | None, its: float | None) -> float:
    return math.nan if mine is None or its is None else its - mine


def _above(row: Mapping[str, Any], name: str, other: str) -> bool:
    values = [row.get(each, {}).get(_PSNR.key) for each in (name, other)]
    return None not in values and values[0] > values[1]
