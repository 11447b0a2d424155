"""Read the position of a grid of HDF-EOS5, which stands in the text ``StructMetadata.0`` alone.

Source: HDF-EOS Library Users Guide, Volume 1, and the projections of GCTP.
"""

import re
from dataclasses import dataclass
from typing import Any

import h5py
from affine import Affine

from hsipipe.formats.hdf5_access import find_dataset, text_of

_STRUCTURE = "HDFEOS INFORMATION/StructMetadata.0"
_WGS84, _GRS80 = 12, 8
_MOST_TEXT = 1 << 20


@dataclass(frozen=True)
class Grid:
    """Position of a grid: CRS, None if its projection is not known, and transform of its outer corners."""

    crs: str | None
    transform: Affine


def grid_of(file: h5py.File, name: str) -> Grid | None:
    """Return the position of the grid of this name; None if the file does not describe it."""
    text = text_of(find_dataset(file, _STRUCTURE))[:_MOST_TEXT]
    for block in re.split(r"\bGROUP\s*=\s*GRID_\d+", text)[1:]:
        fields = _fields(block.split("END_GROUP=GRID_")[0])
        if fields.get("GridName", "").strip('"') == name:
            return _grid(fields)
    return None


def _fields(block: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals:
            found.setdefault(key.strip(), value.strip())
    return found


def _grid(fields: dict[str, str]) -> Grid | None:
    upper, lower = _pair(fields.get("UpperLeftPointMtrs")), _pair(fields.get("LowerRightMtrs"))
    try:
        width, height = int(fields["XDim"]), int(fields["YDim"])
    except (KeyError, ValueError):
        return None
    if upper is None or lower is None or width < 1 or height < 1:
        return None
    crs, is_packed = _crs(fields)
    (left, top), (right, bottom) = (map(_degrees, point) if is_packed else point for point in (upper, lower))
    return Grid(crs, Affine((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top))


def _crs(fields: dict[str, str]) -> tuple[str | None, bool]:
    """Return the CRS, and True if the corners are packed degrees, DDDMMMSSS.SS."""
    projection = fields.get("Projection", "").upper()
    sphere, zone = _whole(fields.get("SphereCode")), _whole(fields.get("ZoneCode"))
    if projection.endswith("GCTP_GEO"):
        return {_WGS84: "EPSG:4326", _GRS80: "EPSG:4269"}.get(sphere, "EPSG:4326"), True
    if projection.endswith("GCTP_UTM") and 1 <= abs(zone) <= 60 and sphere in (_WGS84, _GRS80):
        if sphere == _WGS84:
            return f"EPSG:{(32600 if zone > 0 else 32700) + abs(zone)}", False
        return (f"EPSG:{26900 + zone}", False) if 1 <= zone <= 23 else (None, False)
    return None, False


def _degrees(packed: float) -> float:
    sign, size = (-1.0, -packed) if packed < 0 else (1.0, packed)
    degrees, rest = divmod(size, 1_000_000)
    minutes, seconds = divmod(rest, 1000)
    return sign * (degrees + minutes / 60 + seconds / 3600)


def _pair(text: str | None) -> tuple[float, float] | None:
    match: Any = re.fullmatch(r"\(\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*\)", text or "")
    try:
        return (float(match[1]), float(match[2])) if match else None
    except ValueError:
        return None


def _whole(text: str | None) -> int:
    try:
        return int(text or "0")
    except ValueError:
        return 0
