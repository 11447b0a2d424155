"""Say what a prediction wrote."""

from pathlib import Path

import xarray as xr

from hsipipe.formats import open_cube
from hsipipe.formats.georeference import crs_of, pixel_size
from hsipipe.inference.values_found import ValuesFound
from hsipipe.progress import duration


def describe_result(path: Path, values: ValuesFound, seconds: float) -> str:
    """Return shape, pixel size, range and time of a result in a line."""
    cube = open_cube(path)
    bands, height, width = cube.shape
    parts = [f"{bands} bands of {height} x {width} pixels{_pixels(cube)}"]
    if values.low is not None and values.high is not None:
        share = values.missing_share
        parts.append(f"values {values.low:.4g} to {values.high:.4g}" + (f", {share:.1%} without data" if share else ""))
    else:
        parts.append("no values")
    return f"wrote {path}: {', '.join(parts)}, in {duration(seconds)}"


def _pixels(cube: xr.DataArray) -> str:
    size, crs = pixel_size(cube), crs_of(cube)
    if size is None:
        return ""
    unit = "m" if crs is not None and crs.is_projected and crs.linear_units == "metre" else ""
    across, down = size
    return f" of {across:.6g} x {down:.6g} {unit}".rstrip()
