"""Say what a prediction wrote."""

from pathlib import Path

import numpy as np

from hsipipe.commands.cube_facts import CubeFacts
from hsipipe.formats.georeference import crs_of
from hsipipe.progress import duration


def describe_result(path: Path, seconds: float) -> str:
    """Return shape, pixel size, range and time of a result in a line; its values are read back block by block."""
    return describe(CubeFacts.read(path), seconds)


def describe(facts: CubeFacts, seconds: float) -> str:
    """As :func:`describe_result`, for a result that was read."""
    bands, height, width = facts.cube.shape
    parts = [f"{bands} bands of {height} x {width} pixels{_pixels(facts)}"]
    if facts.highest is not None:
        low, share = float(facts.found.low.min()), facts.not_finite / facts.cube.size
        parts.append(f"values {low:.4g} to {facts.highest:.4g}" + (f", {share:.1%} without data" if share else ""))
    else:
        parts.append("no values")
    return f"wrote {facts.path}: {', '.join(parts)}, in {duration(seconds)}"


def _pixels(facts: CubeFacts) -> str:
    size, crs = facts.pixel_size, crs_of(facts.cube)
    if size is None:
        return ""
    unit = "m" if crs is not None and crs.is_projected and crs.linear_units == "metre" else ""
    across, down = (f"{value:.6g}" for value in np.abs(size))
    return f" of {across} x {down} {unit}".rstrip()
