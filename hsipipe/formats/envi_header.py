"""Parse the text header of ENVI, in the dialects of the programs that write it.

A list may begin on the next line and end on a later one. Parsing takes time in proportion to the size of the header.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

logger = logging.getLogger(__name__)

Header = Mapping[str, str]
"""Fields by name in lower case. The value of a list has its braces."""

_MOST_BYTES = 16 << 20
"""Largest header. One with 1,000 bands and all lists has less than 100 kB."""
_CLOSING = {"{": "}", "[": "]", "(": ")"}
# Other programs print the lists of these fields in the brackets of their language.
_LISTS = ("wavelength", "fwhm", "bbl", "band names", "data ignore value", "map info", "geo points")
_STRUCTURE = ("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order", "file compression")
_NUMPY_SCALAR = re.compile(r"(?:np\.|numpy\.)?(?:float|int|uint)\d+\(([^()]*)\)")


def is_header(path: Path) -> bool:
    """Return True if a file begins with the word ENVI."""
    with path.open("rb") as stream:
        return stream.read(8).removeprefix(b"\xef\xbb\xbf").startswith(b"ENVI")


def read_header(path: Path) -> dict[str, str]:
    """Parse the fields of a header; names in lower case, lists with their braces.

    Raises:
        FileFormatError: The file is not an ENVI header, is too large, or has two values of one structural field.
    """
    if not is_header(path):
        raise FileFormatError(f"{path.name} is not an ENVI header, it does not begin with ENVI")
    if path.stat().st_size > _MOST_BYTES:
        raise FileFormatError(
            f"{path.name} has {path.stat().st_size} bytes, expected at most {_MOST_BYTES} for an ENVI header"
        )
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:  # descriptions and units of older programs
        text = content.decode("latin-1")
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:]]
    return _parse([line for line in lines if line and not line.startswith(";")])


def _parse(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    endless: set[str] = set()
    repeated: set[str] = set()
    # Without it, many lists without an end would each be searched to the end of the header.
    last = {closing: max((i for i, line in enumerate(lines) if closing in line), default=-1) for closing in "}])"}
    number = 0
    while number < len(lines):
        name, equals, value = lines[number].partition("=")
        name, value, number = " ".join(name.split()).lower(), value.strip(), number + 1
        if not equals or not name:
            continue
        if not value and number < len(lines) and lines[number][0] in _CLOSING:  # a list on the next line
            value, number = lines[number], number + 1
        closing = _CLOSING.get(value[:1]) if value.startswith("{") or name in _LISTS else None
        if closing is not None and closing not in value:
            if last[closing] < number:
                endless.add(name)
            else:
                end = next(i for i in range(number, len(lines)) if closing in lines[i])
                value, number = "\n".join([value, *lines[number : end + 1]]), end + 1
        if closing is not None and closing in value:
            value = value[: value.index(closing) + 1]
        if fields.setdefault(name, value) != value:
            _check_repeated(name, fields[name], value)
            repeated.add(name)
        fields[name] = value
    for told, names in (
        ("has no end, its first line is read", endless),
        ("is there twice, the last one is read", repeated),
    ):
        if names:
            listed = ", ".join(map(repr, sorted(names)[:5]))
            logger.warning("the header's field %.200s %s", listed, told)
    return {name: value for name, value in fields.items() if value.strip("{}[]() \n\t")}  # an empty list is no value


def _check_repeated(name: str, earlier: str, value: str) -> None:
    if name in _STRUCTURE:
        raise FileFormatError(f"the header has the field {name!r} twice, {earlier!r} and {value!r}; remove one of them")


def text_of(header: Header, name: str) -> str:
    """Return the value of a field without braces, quotes and blanks around it; empty if there is none."""
    return header.get(name, "").strip("{}[]()\"' \t\n")


def whole(header: Header, name: str, *, least: int, default: int | None = None) -> int:
    """Return the integer of a field.

    Raises:
        FileFormatError: The field is missing and has no default, or is not an integer of at least `least`.
    """
    if name not in header:
        if default is not None:
            return default
        raise FileFormatError(f"the header has no field {name!r}; add it")
    value = _as_number(text_of(header, name))
    if value is None or not value.is_integer() or value < least:
        raise FileFormatError(f"{name} is {header[name]!r}, expected an integer of at least {least}")
    return int(value)


def numbers(header: Header, name: str, *, count: int | None = None) -> NDArray[np.float64] | None:
    """Return the numbers of a field, (C,); None, with a warning, if they are no numbers or not `count`.

    They may be separated by commas, semicolons or blanks.
    """
    if name not in header:
        return None
    inner = _NUMPY_SCALAR.sub(r"\1", header[name]).strip("{}[]() \t\n")
    separator = r"[;\s]+" if ";" in inner else r"[,\s]+"  # between semicolons, a comma is the decimal sign
    found = [_as_number(word.strip("\"'").replace(",", ".")) for word in re.split(separator, inner) if word]
    wrong = [word for word, value in zip(re.split(separator, inner), found, strict=False) if value is None]
    if wrong:
        logger.warning("the header's field %r is ignored: %.40r is not a number", name, wrong[0])
        return None
    if count is not None and len(found) != count:
        logger.warning("the header's field %r is ignored: it lists %d values for %d bands", name, len(found), count)
        return None
    return np.array(found, dtype=np.float64)


def words(header: Header, name: str) -> list[str]:
    """Return the texts of a list, separated by commas; empty if there is no such field."""
    found = [" ".join(word.split()).strip("\"'") for word in text_of(header, name).split(",")]
    return found[:-1] if found and not found[-1] else found


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
