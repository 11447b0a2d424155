"""Describe a cube in a table and suggest parameters for it."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from hsipipe.bands import band_label
from hsipipe.commands.cube_facts import CubeFacts, stated_full_scale
from hsipipe.formats.cf import OWN, of_file
from hsipipe.formats.georeference import crs_of, transform_of

_MOST_LISTED = 8


def cube_table(facts: CubeFacts) -> Table:
    """Return a table of file, shape, wavelengths in nm, values and their defects, position, and suggestions.

    For a sensor product it also has the name, what was applied to the stored values, and the share of each mask; for a
    result, its provenance.
    """
    cube, nm = facts.cube, facts.wavelength_nm
    count, height, width = cube.shape
    rows = {
        "file": str(facts.path),
        "format": str(cube.encoding.get("format", "unknown")),
        "variable": _variables(cube),
        "product": str(cube.encoding.get("product", "")),
        "applied": "\n".join(cube.encoding.get("applied", [])),
        "masked": "\n".join(f"{name}: {100 * share:.3g} %" for name, share in facts.masked.items()),
        "shape": f"{count} bands, {height} rows, {width} columns",
        "stored": f"{cube.encoding.get('stored_dtype', 'unknown')}, {_size(facts.size_bytes)}",
        "wavelengths": _wavelengths(nm),
        "widths": _widths(cube),
        "detectors": _detectors(cube),
        "values": _values(facts),
        "NaN or Inf": _share(facts.not_finite, facts.seen),
        "negative": _share(int(facts.found.negative.sum()), facts.seen),
        "dead bands": _bands(facts.dead, nm),
        "bad bands": "" if facts.bad is None else _bands(facts.bad, nm),
        "position": _position(facts),
        "provenance": "\n".join(f"{key.removeprefix(OWN)}: {text}" for key, text in of_file(cube.attrs).items()),
        "hints": "\n".join(_hints(facts)),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, text in rows.items():
        if text:
            table.add_row(what, Text(text))  # names of files may look like markup
    return table


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


def _variables(cube: xr.DataArray) -> str:
    name, shapes = cube.encoding.get("variable"), cube.encoding.get("variables", {})
    others = [f"{key} {'x'.join(map(str, shape)) or 'scalar'}" for key, shape in shapes.items() if key != name]
    if name is None:
        return ""
    more = f" and {len(others) - _MOST_LISTED} more" if len(others) > _MOST_LISTED else ""
    return f"{name}" + (f"; beside it {', '.join(others[:_MOST_LISTED])}{more}" if others else "")


def _size(size_bytes: int) -> str:
    if not size_bytes:
        return "size unknown"
    size = float(size_bytes)
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


def _values(facts: CubeFacts) -> str:
    if facts.highest is None:
        return "none is finite"
    part = "" if facts.seen == facts.cube.size else ", in the middle of the scene"
    return f"{facts.found.low.min():g} to {facts.highest:g}, mean {facts.mean:.4g}{part}"


def _share(count: int, total: int) -> str:
    if not count:
        return "0"
    percent = 100 * count / total
    return f"{count} ({percent:.3g} %)" if percent >= 1 else str(count)


def _bands(bands: list[int], nm: NDArray[np.float64] | None) -> str:
    named = ", ".join(band_label(band, nm) for band in bands[:_MOST_LISTED])
    more = len(bands) - _MOST_LISTED
    return f"{named} and {more} more" if more > 0 else named or "none"


def _position(facts: CubeFacts) -> str:
    cube = facts.cube
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
    if transform is not None and (size := facts.pixel_size) is not None:
        height, width = cube.shape[1:]
        across, down = size
        corners = [(c * transform.a + r * transform.b + transform.c, c * transform.d + r * transform.e + transform.f)
                   for c, r in ((0, 0), (width, height))]  # fmt: skip
        (x0, y0), (x1, y1) = corners
        parts.append(f"pixels of {across:.6g} x {down:.6g} {unit}".strip())
        parts.append(f"x {min(x0, x1):.10g} to {max(x0, x1):.10g}, y {min(y0, y1):.10g} to {max(y0, y1):.10g}")
    return "; ".join(parts)


def _hints(facts: CubeFacts) -> list[str]:
    cube, found, hints = facts.cube, facts.found, []
    if facts.highest is not None:
        hints.append(_scale_hint(facts))
    if facts.not_finite:
        empty = int((found.finite < facts.seen // len(cube)).sum())
        hints.append(
            f"NaN or Inf in {empty} of the bands: `hsipipe predict` gives NaN at such pixels. The pipeline ignores "
            "pixels with NaN and refuses Inf, so make that NaN"
        )
    if facts.unusable:
        numbers = ", ".join(str(band + 1) for band in facts.unusable)
        hints.append(f"dataset.folder.drop_bands=[{numbers}] leaves the dead and bad bands out")
    if facts.wavelength_nm is None:
        hints.append("dataset.folder.wavelength_nm can say the wavelengths")
    bands, height, width = cube.shape
    if width < min(bands, height) and str(cube.encoding.get("format")).startswith("NumPy"):
        hints.append("fewer columns than bands: if its axes are (y, x, band), store it as (band, y, x)")
    return hints


def _scale_hint(facts: CubeFacts) -> str:
    said, likely = stated_full_scale(facts.cube), facts.likely_full_scale
    if said is not None:
        return f"dataset.folder.full_scale={said:g}, as the file says of its reflectances"
    if likely is None:
        return "dataset.folder.full_scale: the value that means 1.0, above the largest"
    if likely == 1:
        return "dataset.folder.full_scale=1: the values look like reflectances"
    return f"dataset.folder.full_scale={likely} if these are scaled reflectances; it is the value that means 1.0"
