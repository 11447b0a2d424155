"""Parse centre wavelengths out of band names such as ``"Band 10 (497.2 nm)"`` and ``"Blue 0.45-0.52 um"``.

A range gives its centre. A width is not a centre. A text that allows two readings gives none.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hsipipe.formats.wavelengths import centres

_LONGEST_TEXT = 500
_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])(?:\d+(?:[.,]\d+|\.(?!\.))?|(?<!\.)\.\d+)(?:e[+-]?\d+)?(?!\d|[.,]\d)")
_UNIT = re.compile(r" ?(nm|nanomet(?:er|re)s?|[uμ]m|micromet(?:er|re)s?|microns?)(?![a-z])")
_DASHES = dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-")
_RANGE = re.compile(r" ?(?:-|~|\.\.+|to|and|bis) ?")
_PLUS_MINUS = re.compile(r" ?(?:±|\+/-|\+-) ?")
_WIDTH = re.compile(
    r"fwhm|band ?width|\bbw\b|\bwidth|\bwide\b|resolution|\bstep\b|spacing|sampling|interval|δλ?|∆λ?|\bdelta\b|±"
)
_BEFORE_NUMBER = re.compile(r"[ :=(]*(?:of |is )?[ (]*")
_AFTER_NUMBER = re.compile(r"[ ()_-]*")
_BAND_WORD = re.compile(r"(?:\b|_)(?:band|channel|chan|ch|layer|b|nr|no|number)[ _.:#]*$|#$")
_LEAST_PLAIN_NM = 300.0
"""Smallest wavelength without a unit."""
_WIDEST = 5.0
"""Largest ratio of the ends of a spectral band."""
_SHORTEST_NM, _LONGEST_NM = 100.0, 100_000.0
"""Range of imaging sensors. A smaller number is a width."""
_SAME = 0.01
"""Largest relative difference of two statements of one wavelength."""
_WIDEST_AFTER_BAND = 2.0
"""The same after the word band, which announces a number of the band."""


@dataclass
class _Number:
    """A number in a text, with the unit that follows it."""

    text: str
    value: float
    factor: float
    start: int
    end: int
    is_width: bool = False

    @property
    def nm(self) -> float:
        """Return the value in nm; 0 without a unit."""
        return self.value * self.factor


def from_texts(texts: Sequence[str | None]) -> NDArray[np.float64] | None:
    """Parse the centre wavelengths in nm from the names of all bands, (C,); None unless every name has one."""
    plain = [_normal(text) for text in texts]
    if not plain or not all(plain):
        return None
    if all(re.fullmatch(r"\d+(?:\.\d*)?", text) for text in plain):
        # A number without a unit is a wavelength only where it cannot be a band number.
        values = [float(text) for text in plain]
        return centres(values, name="bands") if min(values) >= _LEAST_PLAIN_NM else None
    numbers = [_numbers(text) for text in plain]
    counts, ranges = _dashes(plain, numbers)
    if counts and all(ranges):
        return None
    counted = counts or not all(ranges)
    found = [_centre(text, parts, counted) for text, parts in zip(plain, numbers, strict=True)]
    nm = [value for value in found if value is not None]
    if len(nm) < len(found) or (len(nm) > 1 and len(set(nm)) == 1):
        return None
    return np.array(nm)


def _normal(text: str | None) -> str:
    if not text or len(text) > _LONGEST_TEXT:
        return ""
    plain = unicodedata.normalize("NFKC", text.replace("\ufffdm", "um")).translate(_DASHES)
    return " ".join(plain.lower().split())


def _numbers(text: str) -> list[_Number]:
    found = []
    for match in _NUMBER.finditer(text):
        unit = _UNIT.match(text, match.end())
        factor = 0.0 if unit is None else 1.0 if unit[1].startswith("n") else 1e3
        value = _value(match[0], factor)
        if value is not None:
            found.append(_Number(match[0], value, factor, match.start(), unit.end() if unit else match.end()))
    _mark_widths(text, found)
    return found


def _value(text: str, factor: float) -> float | None:
    """Convert a number; None for a comma that may separate thousands."""
    if "," in text and factor == 1 and re.search(r",\d{3}$", text):
        return None
    return float(text.replace(",", "."))


def _mark_widths(text: str, numbers: list[_Number]) -> None:
    for word in _WIDTH.finditer(text):
        start = _end(_BEFORE_NUMBER, text, word.end())
        following = next((n for n in numbers if n.start == start), None)
        before = next((n for n in reversed(numbers) if n.end <= word.start()), None)
        if following is not None:
            following.is_width = True
        elif before is not None and _end(_AFTER_NUMBER, text, before.end) == word.start():
            before.is_width = True


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return start if match is None else match.end()


def _between(text: str, first: _Number, second: _Number, pattern: re.Pattern[str]) -> bool:
    """Return True if two numbers, the second with a unit, are separated by a pattern alone."""
    alone = first.start == 0 or not text[first.start - 1].isalpha()
    return bool(second.factor and alone and pattern.fullmatch(text, first.end, second.start))


def _dashes(texts: Sequence[str], numbers: Sequence[list[_Number]]) -> tuple[bool, list[bool]]:
    """Judge integers before a dash: do they count the bands (``1 - 450 nm``, ``2 - 460 nm``), and is each a range?"""
    starts, ranges = [], []
    for text, parts in zip(texts, numbers, strict=True):
        for first, second in pairwise(parts):
            if not first.factor and first.text.isdigit() and _between(text, first, second, _RANGE):
                starts.append(first.value)
                ranges.append(_is_range(text, first, second))
                break
    return len(starts) == len(texts) > 1 and bool((np.diff(starts) == 1).all()), ranges


def _centre(text: str, numbers: list[_Number], counted: bool) -> float | None:
    """Return the one centre wavelength in nm that a text states, or None."""
    stated: list[float] = []
    ranges: list[tuple[float, float]] = []
    waiting = list(numbers)
    while waiting:
        first, second = waiting.pop(0), waiting[0] if waiting else None
        if second is not None and _between(text, first, second, _PLUS_MINUS):
            waiting.pop(0)
            stated.append(_nm(first, second))
        elif second is not None and not (counted and not first.factor) and _is_range(text, first, second):
            waiting.pop(0)
            ranges.append((_nm(first, second), second.nm))
        elif second is not None and _is_filter(text, first, second):
            waiting.pop(0)
            if second.value * 4 > first.value:  # a range, or centre and width
                return None
            stated.append(_nm(first, second))
        elif first.factor and not first.is_width:
            stated.append(first.nm)
    stated = [nm for nm in stated if _SHORTEST_NM <= nm <= _LONGEST_NM]
    found = stated or [sum(ends) / 2 for ends in ranges]
    agree = bool(found) and max(found) - min(found) <= _SAME * max(found)
    inside = all(min(ends) <= found[0] <= max(ends) for ends in ranges) if found else False
    return found[0] if agree and inside else None


def _nm(number: _Number, following: _Number) -> float:
    return number.value * (number.factor or following.factor)


def _is_filter(text: str, first: _Number, second: _Number) -> bool:
    """Return True for ``450/10 nm``, the centre and the width of a filter."""
    return bool(first.factor or second.factor) and text[first.end : second.start].strip() == "/"


def _is_range(text: str, first: _Number, second: _Number) -> bool:
    if first.is_width or second.is_width or not _between(text, first, second, _RANGE):
        return False
    low, high = sorted((_nm(first, second), second.nm))
    named = not first.factor and first.text.isdigit() and _BAND_WORD.search(text[: first.start])
    return low >= _SHORTEST_NM and high <= min(_LONGEST_NM, (_WIDEST_AFTER_BAND if named else _WIDEST) * low)
