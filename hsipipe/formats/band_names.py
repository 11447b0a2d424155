"""Order the images of a folder by the bands that their names state.

The number that differs from file to file is that of the band, wherever it stands: ``EO1H..._B008_L1T``,
``T32TNS_20220612T101559_B02_10m``. Sentinel-2's band 8A follows band 8.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_texts import from_texts

_DIGITS = re.compile(r"(\d+(?:[.]\d+)?)")
_8A = re.compile(r"(?<![a-z])(b(?:and)?[ _-]?0?)8a(?![a-z0-9])", re.IGNORECASE)
_BAND_WORD = re.compile(r"(?:^|[^a-z])(?:b|band|ch|channel|layer)[ _.-]?$", re.IGNORECASE)
# Layers that publishers deliver with the bands: quality, masks, true colour, angles.
_NO_BAND = re.compile(
    r"(?:^|[_.\- ])(?:scl|aot|wvp|tci|pvi|cld\w*|snw\w*|msk\w*|bqa|qa|qa_\w*|radsat|saa|sza|vaa|vza|cloud\w*|\w*mask|"
    r"alpha)(?:$|[_.\- ])",
    re.IGNORECASE,
)
# Products whose users keep some of the bands.
_SUBSETS = re.compile(r"(?:^|_)T\d{2}[A-Z]{3}_\d{8}T\d{6}_|^S2[A-D]_|^L[COTEM]0\d_")
_HYPERION = re.compile(r"^EO1H\d")
_UNCALIBRATED = {*range(1, 8), *range(58, 77), *range(225, 243)}
"""Bands of Hyperion without calibrated values."""
_MOST_LISTED = 8


@dataclass(frozen=True)
class NamedBand:
    """An image and the number in its name that orders it."""

    path: Path
    number: float


def order_bands(paths: Sequence[Path]) -> list[NamedBand]:
    """Order the images of one cube; images that are no bands are skipped.

    Args:
        paths: Images with a number in their names.

    Raises:
        FileFormatError: A band is missing or duplicated, or the names are not those of one cube.
    """
    bands = without_layers(paths)
    parts = {path: _DIGITS.split(_8A.sub(r"\g<1>8.5", path.stem)) for path in bands}
    kinds: dict[tuple[str, ...], Path] = {}
    for path in bands:
        kinds.setdefault((*parts[path][::2], path.suffix.lower()), path)
    if len(kinds) > 1:
        raise _different(list(kinds.values()))
    texts = parts[bands[0]][::2]
    slots = [slot for slot in range(len(texts) - 1) if len({float(parts[path][2 * slot + 1]) for path in bands}) > 1]
    if not slots:
        slots = [len(texts) - 2]
    numbers = {slot: [float(parts[path][2 * slot + 1]) for path in bands] for slot in slots}
    named = [slot for slot in slots if _BAND_WORD.search(texts[slot])]
    slot = (named or slots)[0]
    _check_order(bands, numbers, slot, is_named=bool(named))
    ordered = sorted(map(NamedBand, bands, numbers[slot]), key=lambda band: band.number)
    if named_wavelengths([band.path for band in ordered]) is None:
        _check_complete(ordered)
    return ordered


def without_layers(paths: Sequence[Path]) -> list[Path]:
    """Skip the masks and quality layers among the images of a folder, unless it holds nothing else."""
    return [path for path in paths if not _NO_BAND.search(path.stem)] or list(paths)


def named_wavelengths(paths: Sequence[Path]) -> NDArray[np.float64] | None:
    """Parse the wavelengths in nm that names such as ``x_450nm`` state, (C,); None without units."""
    stems = [path.stem for path in paths]
    return None if all(map(str.isdecimal, stems)) else from_texts(stems)


def _check_order(bands: Sequence[Path], numbers: dict[int, list[float]], slot: int, *, is_named: bool) -> None:
    first: dict[float, Path] = {}
    for path, number in zip(bands, numbers[slot], strict=True):
        if number in first and len(numbers) == 1:
            raise FileFormatError(f"{first[number].name} and {path.name} are the same band; keep one of them")
        if number in first:
            raise _different([first[number], path])
        first[number] = path
    for values in numbers.values():  # further numbers that differ, such as wavelengths and times
        pairs = sorted(zip(numbers[slot], values, bands, strict=True))
        for (_, one, path), (_, other, following) in pairwise(pairs):
            if one > other and not is_named:
                raise _different([path, following])
        if len(set(values)) < len(values):
            raise _different([path for _, _, path in pairs])


def _different(paths: Sequence[Path]) -> FileFormatError:
    names = ", ".join(path.name for path in paths[:4])
    return FileFormatError(
        f"it holds images with different names ({names}), expected the bands of one cube; use one folder per cube"
    )


def _check_complete(ordered: Sequence[NamedBand]) -> None:
    numbers = {band.number for band in ordered}
    name = ordered[0].path.stem
    if any(not number.is_integer() for number in numbers) or _SUBSETS.search(name):
        return
    held = {int(number) for number in numbers}
    allowed = held | _UNCALIBRATED if _HYPERION.search(name) else held
    # A name can state any number, so the numbers between are not listed.
    missing = list(islice((n for n in range(min(held), max(held)) if n not in allowed), _MOST_LISTED))
    if missing:
        listed = ", ".join(map(str, missing))
        raise FileFormatError(f"the bands {listed} are missing; copy the folder again, or write nm after a wavelength")
