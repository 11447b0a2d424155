"""Decode stored numbers by the CF conventions: scale, offset, missing values and the valid range.

Scale and offset are applied as xarray applies them. Source of the rules: NetCDF Climate and Forecast Metadata
Conventions 1.11, sections 2.5.1 and 8.1, and the NetCDF Users Guide, appendix A, for the units of a valid range.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

logger = logging.getLogger(__name__)

# Attributes that mark missing values, in addition to the two of the conventions; lower case, without separators.
_NO_DATA = ("dataignorevalue", "nodata", "nodatavalue", "fillvalue", "ignorevalue")
_PACKING = ("scale_factor", "add_offset", "_Unsigned")
_RANGE = ("valid_range", "valid_min", "valid_max")
_ABSENT = ("", "[]", "none", "n/a", "null")
_MOST_MISSING = 64
HISTORY, SOURCE = "history", "source"
"""Attributes of a file with the programs that made it, a line each, and with how its data were produced."""
OWN = "hsipipe_"
"""Beginning of the other attributes of a file that say where its cube comes from."""
_MOST_TEXT = 1 << 16
_DIGITS = 6
"""Decimals of a limit in packed units: a decoded limit is a rounded product."""
_WORD = re.compile(r"[^\s,;\[\](){}]+")


def is_spent(attribute: str) -> bool:
    """Return True for an attribute that :func:`decode` applies, and that is false of the decoded values."""
    return attribute in _PACKING or attribute in _RANGE or _marks_missing(attribute)


def of_file(attrs: Mapping[Any, Any]) -> dict[str, str]:
    """Return the texts among attributes that say where the cube of a file comes from."""
    return {
        str(key): value
        for key, value in attrs.items()
        if (key in (HISTORY, SOURCE) or str(key).startswith(OWN))
        and isinstance(value, str)
        and len(value) <= _MOST_TEXT
    }


def decode(name: str, stored: xr.Variable) -> Any:
    """Decode the values of a variable: a NumPy or Dask array, float where scaled or masked.

    Raises:
        FileFormatError: An attribute that changes the values is not a number.
    """
    raw = _with_sign(stored)
    packing = {key: _number(name, key, stored.attrs[key]) for key in ("scale_factor", "add_offset")
               if _is_given(stored.attrs.get(key))}  # fmt: skip
    if packing.get("scale_factor") == 0:
        raise FileFormatError(f"scale_factor of {name!r} is 0, expected a number other than 0; correct the attribute")
    values = raw
    if packing:
        plain = xr.Variable(stored.dims, raw, packing)
        values = xr.conventions.decode_cf_variable(name, plain, decode_times=False, decode_timedelta=False).data
    invalid = _invalid(name, stored.attrs, raw, packing)
    if invalid is None:
        return values
    if values.dtype.kind != "f":
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    return np.where(invalid, values.dtype.type(np.nan), values)


def _with_sign(stored: xr.Variable) -> Any:
    """Return the values as unsigned or signed integers, as the attribute ``_Unsigned`` says."""
    said = str(stored.attrs.get("_Unsigned", "")).lower()
    kind = {("true", "i"): "u", ("false", "u"): "i"}.get((said, stored.dtype.kind))
    return stored.data if kind is None else stored.data.astype(f"{kind}{stored.dtype.itemsize}")


def _invalid(name: str, attrs: Mapping[str, Any], raw: Any, packing: Mapping[str, Any]) -> Any:
    """Compute where values are missing or outside of the valid range; None if no attribute says so."""
    found: Any = None
    for value in _missing(name, attrs):
        marked = raw == _as_stored(value, raw.dtype, attrs)
        found = marked if found is None else found | marked
    for is_low, limit in _limits(name, attrs, raw.dtype, packing):
        outside = raw < limit if is_low else raw > limit
        found = outside if found is None else found | outside
    return found


def _missing(name: str, attrs: Mapping[str, Any]) -> list[Any]:
    """List the values that mark missing data."""
    found: list[Any] = []
    for key, given in attrs.items():
        if not (_marks_missing(key) and _is_given(given)):
            continue
        try:
            found += list(_numbers(name, key, given))
        except FileFormatError:
            if key in ("_FillValue", "missing_value"):
                raise
            logger.warning("%s of %r is %r, expected a number; it is ignored", key, name, given)
    if len(found) > _MOST_MISSING:
        raise FileFormatError(f"{name!r} names {len(found)} missing values, expected at most {_MOST_MISSING}")
    return found


def _limits(
    name: str, attrs: Mapping[str, Any], dtype: np.dtype[Any], packing: Mapping[str, Any]
) -> list[tuple[bool, Any]]:
    """List the limits of the stored values: True for the lower one, and the value."""
    given = {key: _range(name, key, attrs[key]) for key in _RANGE if key in attrs}
    pair = given.get("valid_range")
    low = given.get("valid_min") if pair is None else pair[:1]
    high = given.get("valid_max") if pair is None else pair[1:]
    both = np.array([limit[0] for limit in (low, high) if limit is not None], dtype=np.float64)
    unpacked = bool(packing) and dtype.kind in "iu" and _are_unpacked(attrs, both, dtype, packing)
    limits = []
    for is_low, limit in ((True, low), (False, high)):
        if limit is not None:
            value = limit[0]
            if unpacked:
                value = (float(value) - packing.get("add_offset", 0.0)) / packing.get("scale_factor", 1.0)
                value = round(value, _DIGITS)
            lower = is_low == (not unpacked or packing.get("scale_factor", 1.0) > 0)
            limits.append((lower, _as_stored(value, dtype, attrs)))
    return limits


def _are_unpacked(
    attrs: Mapping[str, Any], limits: NDArray[np.float64], dtype: np.dtype[Any], packing: Mapping[str, Any]
) -> bool:
    """Return True if the limits are in the units of the decoded values.

    The conventions want packed units. The NetCDF Users Guide takes limits of a wider type than the packed values for
    decoded ones. Since a text format such as JSON loses the type, they must also be values that the packing can hold.
    """
    given = [np.asarray(attrs[key]) for key in _RANGE if key in attrs]
    if any(value.dtype.kind in "iu" for value in given):
        return False
    info = np.iinfo(dtype)
    scale, offset = packing.get("scale_factor", 1.0), packing.get("add_offset", 0.0)
    ends = sorted(end * scale + offset for end in (info.min, info.max))
    return bool(((limits >= ends[0]) & (limits <= ends[1])).all())


def _range(name: str, key: str, given: Any) -> NDArray[Any] | None:
    """Return the numbers of a valid range; None, with a warning, for what is no range."""
    count = 2 if key == "valid_range" else 1
    try:
        numbers = _numbers(name, key, given)
    except FileFormatError:
        numbers = np.array([])
    if numbers.size != count or (count == 2 and not numbers[0] <= numbers[1]):
        logger.warning("%s of %r is %r, expected %d ascending numbers; it is ignored", key, name, given, count)
        return None
    return numbers


def _as_stored(value: Any, dtype: np.dtype[Any], attrs: Mapping[str, Any]) -> Any:
    """Return a number of an attribute as the values represent it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(value)
    if not float(value).is_integer():
        return float(value)
    number, count = int(value), 2 ** (8 * dtype.itemsize)
    # The attributes of a variable with _Unsigned have the type of the file.
    if "_Unsigned" in attrs and dtype.kind == "u" and number < 0:
        number += count
    if "_Unsigned" in attrs and dtype.kind == "i" and number >= count // 2:
        number -= count
    return number


def _number(name: str, key: str, given: Any) -> Any:
    numbers = _numbers(name, key, given)
    if numbers.size != 1 or not np.isfinite(numbers[0]):
        raise FileFormatError(f"{key} of {name!r} is {given!r}, expected one number; correct the attribute")
    return numbers.dtype.type(numbers[0]) if numbers.dtype.kind == "f" else float(numbers[0])


def _numbers(name: str, key: str, given: Any) -> NDArray[Any]:
    """Return an attribute as a vector of numbers; text is parsed, though the conventions want numbers."""
    try:
        numbers = np.asarray(given).ravel()
        if numbers.dtype.kind in "iuf":
            return numbers
        return np.array([float(word) for text in numbers for word in _WORD.findall(_text(text))])
    except ValueError as error:
        raise FileFormatError(
            f"{key} of {name!r} is {given!r}, expected a number; correct or remove the attribute"
        ) from error


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_given(value: Any) -> bool:
    return value is not None and _text(value).strip().lower() not in _ABSENT


def _marks_missing(attribute: str) -> bool:
    plain = re.sub(r"[\s_-]", "", attribute).lower()
    return attribute == "missing_value" or plain in _NO_DATA
