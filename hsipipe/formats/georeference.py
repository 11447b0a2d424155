"""Georeference cubes: y and x are pixel centres, ``spatial_ref`` holds the CRS and the transform.

The layout is that of rioxarray, so ``cube.rio.crs`` and similar attributes work.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine

from hsipipe.errors import one_line

logger = logging.getLogger(__name__)

GRID = "spatial_ref"
_EXACT = 1e-3
"""Largest difference in pixels of a stored transform and that of rounded coordinates."""
GCPS = "gcps"
"""Attribute of the grid mapping with ground control points, GeoJSON as rioxarray writes it."""
RPCS = "rpcs"
"""Attribute of the grid mapping with rational polynomial coefficients, JSON of GDAL's names."""


def attach(
    cube: xr.DataArray, *, crs: Any = None, transform: Affine | None = None, gcps: Sequence[Any] = (), rpcs: Any = None
) -> xr.DataArray:
    """Attach a position to a cube.

    Args:
        cube: Cube with dims y and x.
        crs: Coordinate reference system in any form that rasterio accepts; None: unknown.
        transform: Affine transform of (column, row), counted from the outer corner of the first pixel, to map
            coordinates; None: unknown. y and x are set unless the transform rotates the image.
        gcps: Ground control points of rasterio.
        rpcs: Rational polynomial coefficients of rasterio, or None.
    """
    if crs is None and transform is None and not gcps and rpcs is None:
        return cube
    import rioxarray  # noqa: F401  # adds cube.rio; slow to import

    if crs is not None:
        cube = cube.rio.write_crs(crs)
    if transform is not None:
        step_x, turn_x, left, turn_y, step_y, top = (value + 0.0 for value in transform[:6])  # avoid -0.0 in text
        cube = cube.rio.write_transform(Affine(step_x, turn_x, left, turn_y, step_y, top))
        if turn_x == turn_y == 0:
            y = top + step_y * (np.arange(cube.sizes["y"]) + 0.5)
            x = left + step_x * (np.arange(cube.sizes["x"]) + 0.5)
            cube = cube.assign_coords(y=y, x=x)
    if gcps:
        cube = cube.rio.write_gcps(list(gcps), crs)
    if rpcs is not None:
        grid = cube[GRID].variable if GRID in cube.coords else xr.Variable((), 0)
        cube = cube.assign_coords({GRID: grid.copy()})
        cube[GRID].attrs[RPCS] = json.dumps(rpcs.to_gdal())
    cube.encoding.pop("grid_mapping", None)
    return cube


def crs_of(cube: xr.DataArray) -> Any:
    """Return the coordinate reference system as rasterio represents it; None if there is none that can be read."""
    if GRID not in cube.coords:
        return None
    import rioxarray  # noqa: F401  # adds cube.rio

    return _readable("the CRS", lambda: cube.rio.crs)


def transform_of(cube: xr.DataArray) -> Affine | None:
    """Return the transform of (column, row) to map coordinates, from evenly spaced y and x or the stored transform."""
    stored = _stored_transform(cube)
    if not all(dim in cube.coords for dim in ("y", "x")):
        return stored
    pixel = (0.0, 0.0) if stored is None else (stored.e, stored.a)
    steps = [_step(cube[dim], of_pixel) for dim, of_pixel in zip("yx", pixel, strict=True)]
    if 0.0 in steps:
        return None
    step_y, step_x = steps
    top, left = (float(cube[dim].values[0]) - step / 2 for dim, step in zip("yx", steps, strict=True))
    found = Affine(step_x, 0.0, left, 0.0, step_y, top)
    # y and x are rounded; the stored transform is exact, but not that of a cropped cube.
    height, width = cube.sizes["y"], cube.sizes["x"]
    if stored is not None and is_same_place(found, stored, height=height, width=width, tolerance=_EXACT):
        return stored
    return found


def pixel_size(cube: xr.DataArray) -> tuple[float, float] | None:
    """Return width and height of a pixel in units of its reference system; None: unknown."""
    transform = transform_of(cube)
    if transform is None:
        return None
    return math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)


def _step(axis: xr.DataArray, of_pixel: float) -> float:
    """Return the step of an evenly spaced coordinate, of a single one the given step; 0 for an uneven one or text."""
    if axis.dtype.kind not in "iuf":
        return 0.0
    values = np.asarray(axis.values, dtype=np.float64)
    if values.size < 2:
        return of_pixel
    step = float((values[-1] - values[0]) / (values.size - 1))
    return step if np.allclose(np.diff(values), step, rtol=1e-3) else 0.0


def gcps_of(cube: xr.DataArray) -> list[Any]:
    """Return the ground control points as rasterio represents them; empty if there are none."""
    if GRID not in cube.coords or GCPS not in cube[GRID].attrs:
        return []
    import rioxarray  # noqa: F401  # adds cube.rio

    return _readable("the ground control points", cube.rio.get_gcps) or []


def rpcs_of(cube: xr.DataArray) -> Any:
    """Return the rational polynomial coefficients as rasterio represents them, or None."""
    if GRID not in cube.coords or RPCS not in cube[GRID].attrs:
        return None
    from rasterio.rpc import RPC

    text = cube[GRID].attrs[RPCS]
    return _readable("the rational polynomial coefficients", lambda: RPC.from_gdal(json.loads(text)))


def _readable(what: str, read: Callable[[], Any]) -> Any:
    """Return what `read` gives; None, with a warning, if it fails: a result is not lost for a wrong position."""
    try:
        return read()
    except Exception as error:  # parsers of texts from files raise errors of any type
        logger.warning("%s cannot be read and is skipped: %s", what, one_line(error))
        return None


def _stored_transform(cube: xr.DataArray) -> Affine | None:
    text = str(cube[GRID].attrs.get("GeoTransform", "")) if GRID in cube.coords else ""
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        return None
    return Affine.from_gdal(*numbers) if len(numbers) == 6 else None


def is_same_place(one: Affine, other: Affine, *, height: int, width: int, tolerance: float) -> bool:
    """Return True if two transforms map the corners of an image to the same places.

    Args:
        one: Transform.
        other: Transform.
        height: Rows of the image.
        width: Columns of the image.
        tolerance: Largest difference in pixels.
    """
    limit = tolerance * min(math.hypot(other.a, other.d), math.hypot(other.b, other.e))
    for column, row in ((0, 0), (width, 0), (0, height), (width, height)):
        (x, y), (u, v) = ((t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f) for t in (one, other))
        if math.hypot(x - u, y - v) > limit:
            return False
    return True
