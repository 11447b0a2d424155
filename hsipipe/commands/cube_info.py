"""Describe a cube and suggest parameters for it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table

from hsipipe.bands import band_label
from hsipipe.formats import companions, open_cube
from hsipipe.formats.georeference import crs_of, transform_of
from hsipipe.formats.lazy import blocks, count_blocks
from hsipipe.formats.overlap import Overlap
from hsipipe.formats.products.base import Masks
from hsipipe.full_scale import likely_full_scale
from hsipipe.progress import progress

_MOST_LISTED = 8


@dataclass
class _Survey:
    """Statistics per band over finite values."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    total: NDArray[np.float64]
    finite: NDArray[np.int64]
    negative: NDArray[np.int64]


def cube_table(
    path: Path,
    *,
    variable: str | None = None,
    bands: int | None = None,
    overlap: Overlap = "keep",
    masks: Masks = "all",
) -> Table:
    """Return a table of file, shape, wavelengths in nm, values and their defects, position, and suggestions.

    For a sensor product it also has the name, what was applied to the stored values, and the share of each mask.

    Values are read block by block: the cube may be larger than the memory.
    """
    cube = open_cube(path, variable=variable, bands=bands, overlap=overlap, masks=masks)
    found = _survey(cube)
    nm = cube["wavelength_nm"].to_numpy() if "wavelength_nm" in cube.coords else None
    count, height, width = cube.shape
    dead = np.flatnonzero((found.low >= found.high) | (found.finite == 0)).tolist()
    bad = [int(band) - 1 for band in np.atleast_1d(cube.attrs.get("bad_bands", [])).astype(int)]
    pixels = count * height * width
    rows = {
        "file": str(path),
        "format": str(cube.encoding.get("format", "unknown")),
        "variable": _variables(cube),
        "product": str(cube.encoding.get("product", "")),
        "applied": "\n".join(cube.encoding.get("applied", [])),
        "masked": _masked(cube),
        "shape": f"{count} bands, {height} rows, {width} columns",
        "stored": f"{cube.encoding.get('stored_dtype', 'unknown')}, {_size(path)}",
        "wavelengths": _wavelengths(nm),
        "widths": _widths(cube),
        "detectors": _detectors(cube),
        "values": _values(found),
        "NaN or Inf": _share(int(pixels - found.finite.sum()), pixels),
        "negative": _share(int(found.negative.sum()), pixels),
        "dead bands": _bands(dead, nm),
        "bad bands": _bands(bad, nm) if "bad_bands" in cube.attrs else "",
        "position": _position(cube),
        "next": "\n".join(_hints(cube, found, dead=sorted({*dead, *bad}))),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, text in rows.items():
        if text:
            table.add_row(what, text)
    return table


def _masked(cube: xr.DataArray) -> str:
    """Return the share of the values under each mask of a product."""
    masks: dict[str, Any] = cube.encoding.get("masked", {})
    shares = {name: float(where.mean().compute()) for name, where in masks.items()}
    return "\n".join(f"{name}: {100 * share:.3g} %" for name, share in shares.items())


def _widths(cube: xr.DataArray) -> str:
    if "fwhm_nm" not in cube.coords:
        return ""
    low, high = (float(cube["fwhm_nm"].min()), float(cube["fwhm_nm"].max()))
    return f"{low:.4g} nm" if low == high else f"{low:.4g} to {high:.4g} nm"


def _detectors(cube: xr.DataArray) -> str:
    if "detector" not in cube.coords:
        return ""
    names, counts = np.unique(cube["detector"].values.astype(str), return_counts=True)
    return ", ".join(f"{name} {count} bands" for name, count in zip(names, counts, strict=True))


def _survey(cube: xr.DataArray) -> _Survey:
    n = len(cube)
    zeros = np.zeros(n, dtype=np.int64)
    found = _Survey(np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n), zeros, zeros.copy())
    with progress("look at values", count_blocks(cube)) as advance:
        for bands, values in blocks(cube):
            finite = np.isfinite(values)
            axes = (1, 2)
            found.low[bands] = np.minimum(found.low[bands], values.min(axis=axes, initial=np.inf, where=finite))
            found.high[bands] = np.maximum(found.high[bands], values.max(axis=axes, initial=-np.inf, where=finite))
            found.total[bands] += values.sum(axis=axes, dtype=np.float64, where=finite)
            found.finite[bands] += finite.sum(axis=axes)
            found.negative[bands] += (values < 0).sum(axis=axes)
            advance()
    return found


def _variables(cube: xr.DataArray) -> str:
    name, shapes = cube.encoding.get("variable"), cube.encoding.get("variables", {})
    others = [f"{key} {'x'.join(map(str, shape)) or 'scalar'}" for key, shape in shapes.items() if key != name]
    if name is None:
        return ""
    more = f" and {len(others) - _MOST_LISTED} more" if len(others) > _MOST_LISTED else ""
    return f"{name}" + (f"; beside it {', '.join(others[:_MOST_LISTED])}{more}" if others else "")


def _size(path: Path) -> str:
    size = float(sum(file.stat().st_size for file in companions(path)))
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.3g} {unit} on disk" if unit != "bytes" else f"{size:.0f} bytes on disk"


def _wavelengths(nm: NDArray[np.float64] | None) -> str:
    if nm is None:
        return "unknown"
    text = f"{np.nanmin(nm):g} to {np.nanmax(nm):g} nm"
    steps = np.diff(nm)
    if not steps.size:
        return text
    low, high = f"{steps.min():.4g}", f"{steps.max():.4g}"
    text += f", steps of {low} nm" if low == high else f", steps of {low} to {high} nm"
    return text if (steps > 0).all() else f"{text}, not ascending"


def _values(found: _Survey) -> str:
    if not found.finite.any():
        return "none is finite"
    mean = found.total.sum() / found.finite.sum()
    return f"{found.low.min():g} to {found.high.max():g}, mean {mean:.4g}"


def _share(count: int, total: int) -> str:
    if not count:
        return "0"
    percent = 100 * count / total
    return f"{count} ({percent:.3g} %)" if percent >= 1 else str(count)


def _bands(bands: list[int], nm: NDArray[np.float64] | None) -> str:
    named = ", ".join(band_label(band, nm) for band in bands[:_MOST_LISTED])
    more = len(bands) - _MOST_LISTED
    return f"{named} and {more} more" if more > 0 else named or "none"


def _position(cube: xr.DataArray) -> str:
    crs, transform = crs_of(cube), transform_of(cube)
    if crs is None and transform is None:
        return "unknown"
    parts = []
    if crs is not None:
        from pyproj import CRS

        code = crs.to_epsg()
        parts.append(CRS.from_wkt(crs.to_wkt()).name + (f" (EPSG:{code})" if code else ""))
    unit = {"metre": "m", "degree": "degrees"}.get(crs.linear_units if crs and crs.is_projected else "degree", "")
    unit = unit if crs is not None else ""
    if transform is not None:
        height, width = cube.shape[1:]
        across, down = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
        corners = [(c * transform.a + r * transform.b + transform.c, c * transform.d + r * transform.e + transform.f)
                   for c, r in ((0, 0), (width, height))]  # fmt: skip
        (x0, y0), (x1, y1) = corners
        parts.append(f"pixels of {across:.6g} x {down:.6g} {unit}".strip())
        parts.append(f"x {min(x0, x1):.10g} to {max(x0, x1):.10g}, y {min(y0, y1):.10g} to {max(y0, y1):.10g}")
    return "; ".join(parts)


def _hints(cube: xr.DataArray, found: _Survey, *, dead: list[int]) -> list[str]:
    hints = []
    if found.finite.any():
        hints.append(_scale_hint(cube, float(found.high.max())))
    if int(found.finite.sum()) < cube.size:
        empty = int((found.finite < cube.size // len(cube)).sum())
        hints.append(
            f"NaN in {empty} of the bands: `hsipipe predict` gives NaN at these pixels; training refuses them, so "
            "fill or cut them out"
        )
    if dead:
        numbers = ", ".join(str(band + 1) for band in dead)
        hints.append(f"dataset.folder.drop_bands=[{numbers}] leaves the dead and bad bands out")
    if "wavelength_nm" not in cube.coords:
        hints.append("dataset.folder.wavelength_nm can say the wavelengths")
    bands, height, width = cube.shape
    if width < min(bands, height) and str(cube.encoding.get("format")).startswith("NumPy"):
        hints.append("fewer columns than bands: if its axes are (y, x, band), store it as (band, y, x)")
    return hints


def _scale_hint(cube: xr.DataArray, high: float) -> str:
    said = cube.attrs.get("reflectance_scale_factor")
    if isinstance(said, int | float) and said > 0:
        return f"dataset.folder.full_scale={said:g}, as the file says of its reflectances"
    likely = likely_full_scale(high)
    if likely is None:
        return "dataset.folder.full_scale: the value that means 1.0, above the largest"
    if likely == 1:
        return "dataset.folder.full_scale=1: the values look like reflectances"
    return f"dataset.folder.full_scale={likely} if these are scaled reflectances; it is the value that means 1.0"
