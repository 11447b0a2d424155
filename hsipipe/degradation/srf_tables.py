"""Parser of spectral responses: published tables of curves, or matrices for one cube.

Text tables have one of two layouts: one section per band under a heading such as ``# IKONOS2 Band 2 Blue`` or
``;; BAND 8A``, or one column per band after a column of wavelengths.
"""

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

_HEADING = re.compile(r"(?:.*\s)?band\s+(\S+)\s*(.*)", re.IGNORECASE)
_MICRO = "um|[\u00b5\u03bc]m|micron|micromet"
# Only after a bracket or the word: comments also hold sentences such as "nothing below 340 nm".
_UNIT = re.compile(rf"(?:^|[(\[]\s*|(?:wave[a-z]*|lambda)[\s_,(\[]+)(?:(nm\b|nanomet)|{_MICRO})", re.IGNORECASE)
_WAVELENGTH = re.compile(r"wave|lambda|^(?:wl|nm|um|[\u00b5\u03bc]m)$", re.IGNORECASE)
_COMMENT = "#;%"
# Boundary between wavelengths in micrometres and in nanometres for sensors of reflected light.
_DIVIDE = 100.0
# Largest negative noise of a measured response, as a share of its maximum.
_NOISE = 0.05
# Shortest wavelength in micrometres, and a number of samples that may be evenly spaced by chance.
_SHORTEST_UM = 0.2
_FEW = 4


@dataclass(frozen=True)
class Curve:
    """The response of one band.

    Attributes:
        key: Name in the file, mostly a number.
        title: A longer name, or "".
        nm: Increasing wavelengths in nm, (n,).
        response: Non-negative response, (n,).
    """

    key: str
    title: str
    nm: NDArray[np.float64]
    response: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Key and title."""
        return f"{self.key} {self.title}".strip()


@dataclass(frozen=True)
class Matrix:
    """Weights without wavelengths, for the bands of one cube.

    Attributes:
        variables: Name in the file -> matrix, in either orientation.
        names: Names of the columns, if the file has them.
    """

    variables: dict[str, NDArray[np.float64]]
    names: tuple[str, ...] = ()


@dataclass
class _Section:
    key: str = ""
    title: str = ""
    unit: str | None = None
    header: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)


def parse_table(text: str) -> list[Curve] | Matrix:
    """Parse a text table.

    Raises:
        FileFormatError: The text is no table, or a column cannot be a response.
    """
    sections = [section for section in _sections(text) if section.rows or section.key]
    if not sections:
        raise FileFormatError("it holds no numbers")
    curves = []
    for section in sections:
        table = _array(section)
        if section.key:
            if table.shape[1] < 2:
                raise FileFormatError(f"band {section.key} has one column; expected wavelength and response")
            # A third column is the standard deviation over the detectors.
            curves.append(make_curve(section.key, table[:, 0], table[:, 1], title=section.title, unit=section.unit))
        elif len(sections) == 1:
            return _columns(section, table)
        else:
            raise FileFormatError(f"it has {len(table)} rows above the heading of the first band")
    return curves


def make_curve(
    key: str,
    wavelength: NDArray[np.float64],
    response: NDArray[np.float64],
    *,
    title: str = "",
    unit: str | None = None,
) -> Curve:
    """Sort the wavelengths of a curve, convert them to nm, and clip negative noise.

    Args:
        key: Name of the band in the file.
        wavelength: Wavelengths in `unit`, (n,).
        response: (n,).
        title: A longer name.
        unit: "nm" or "um"; None: derive it from the magnitude.

    Raises:
        FileFormatError: The values cannot be a response.
    """
    order = np.argsort(wavelength)
    nm, values = wavelength[order], response[order]
    micrometres = bool(nm[-1] < _DIVIDE)
    if unit is not None and micrometres != (unit == "um"):
        raise FileFormatError(f"band {key} names {unit} as its unit, but runs from {nm[0]:g} to {nm[-1]:g}")
    if nm.size < 2 or nm[0] <= 0 or np.any(np.diff(nm) <= 0):
        raise FileFormatError(f"band {key} needs two or more different positive wavelengths, got {nm.size} rows")
    if values.max() <= 0 or values.min() < -_NOISE * values.max():
        raise FileFormatError(f"band {key} has responses from {values.min():g} to {values.max():g}, expected 0 or more")
    return Curve(key, title, nm * (1e3 if micrometres else 1.0), np.clip(values, 0.0, None))


def table_or_matrix(values: NDArray[np.float64]) -> list[Curve] | None:
    """Return the curves of an array whose first column or row is a wavelength; None without wavelengths."""
    if min(values.shape) < 2 or not np.isfinite(values).all():
        return None
    for table in (values, values.T):
        if _are_wavelengths(table[:, 0], columns=table.shape[1]):
            return [make_curve(str(band), table[:, 0], table[:, band]) for band in range(1, table.shape[1])]
    return None


def _are_wavelengths(column: NDArray[np.float64], *, columns: int) -> bool:
    if column.size < columns or np.unique(column).size < column.size:
        return False
    # Responses are relative, so values that are all this high are wavelengths in nm, in any order.
    if column.min() >= _DIVIDE:
        return True
    # Wavelengths in um have the magnitude of responses, but a whole response does not rise or fall in even steps.
    steps = np.diff(column)
    even = bool(np.allclose(steps, steps.mean(), rtol=0.2, atol=0))
    return column.size > _FEW and column.min() >= _SHORTEST_UM and even


def _columns(section: _Section, table: NDArray[np.float64]) -> list[Curve] | Matrix:
    header = section.header or [""] * table.shape[1]
    if len(header) != table.shape[1]:
        raise FileFormatError(f"the header names {len(header)} columns, but the rows have {table.shape[1]}")
    if any(_WAVELENGTH.search(name) for name in header[1:]):
        raise FileFormatError(f"its wavelengths are not in the first column, which is {header[0]!r}; move them there")
    if table.shape[1] > 1 and (section.unit or _WAVELENGTH.search(header[0])):
        keys = [name or str(number) for number, name in enumerate(header[1:], 1)]
        return [make_curve(key, table[:, 0], table[:, column], unit=section.unit) for column, key in enumerate(keys, 1)]
    return table_or_matrix(table) or Matrix({"": table}, tuple(section.header))


def _sections(text: str) -> list[_Section]:
    current = _Section()
    sections = [current]
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line.startswith(tuple(_COMMENT)):
            heading = _HEADING.fullmatch(line.lstrip(_COMMENT).strip())
            if heading and not current.rows and len(sections) > 1:
                current.key, current.title = heading.groups()
            elif heading:
                current = _Section(key=heading[1], title=heading[2], unit=current.unit)
                sections.append(current)
            elif not current.rows:
                current.unit = _unit(line) or current.unit
        elif line:
            _add_row(current, line, number)
    return sections


def _add_row(section: _Section, line: str, number: int) -> None:
    cells = _cells(line)
    try:
        row = [float(cell) for cell in cells]
    except ValueError:
        if section.rows or section.header or section.key:
            raise FileFormatError(f"line {number} is no row of numbers: {line[:60]!r}") from None
        section.header = cells
        section.unit = _unit(cells[0]) or section.unit
        return
    if section.rows and len(row) != len(section.rows[0]):
        raise FileFormatError(
            f"line {number} has {len(row)} columns, the rows above it {len(section.rows[0])}; the file seems truncated"
        )
    section.rows.append(row)


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in ",;\t" if mark in line), None)
    cells = [cell.strip().strip('"').strip() for cell in line.split(separator)]
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def _unit(text: str) -> str | None:
    found = _UNIT.search(text.lstrip(_COMMENT).strip())
    return None if found is None else "nm" if found[1] else "um"


def _array(section: _Section) -> NDArray[np.float64]:
    where = f"band {section.key}" if section.key else "the table"
    if not section.rows:
        raise FileFormatError(f"{where} has no rows; the file seems truncated")
    table = np.array(section.rows, dtype=np.float64)
    if not np.isfinite(table).all():
        raise FileFormatError(f"{where} holds NaN or infinite values; fill or remove these rows")
    return table
