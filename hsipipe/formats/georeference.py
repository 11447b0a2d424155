"""Georeference cubes: y and x are pixel centres, ``spatial_ref`` holds the CRS and the transform.

The layout is that of rioxarray, so ``cube.rio.crs`` and similar attributes work.
"""

import math
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

GRID = "spatial_ref"


def attach(cube: xr.DataArray, *, crs: Any = None, transform: Affine | None = None) -> xr.DataArray:
    """Attach a position to a cube.

    Args:
        cube: Cube with dims y and x.
        crs: Coordinate reference system in any form that rasterio accepts; None: unknown.
        transform: Affine transform of (column, row), counted from the outer corner of the first pixel, to map
            coordinates; None: unknown. y and x are set unless the transform rotates the image.
    """
    if crs is None and transform is None:
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
    cube.encoding.pop("grid_mapping", None)
    return cube


def crs_of(cube: xr.DataArray) -> Any:
    """Return the coordinate reference system as rasterio represents it, or None."""
    if GRID not in cube.coords:
        return None
    import rioxarray  # noqa: F401  # adds cube.rio

    return cube.rio.crs


def transform_of(cube: xr.DataArray) -> Affine | None:
    """Return the transform of (column, row) to map coordinates, from evenly spaced y and x or the stored transform."""
    if all(dim in cube.coords and cube.sizes[dim] > 1 for dim in ("y", "x")):
        y, x = (np.asarray(cube[dim].values, dtype=np.float64) for dim in ("y", "x"))
        step_y, step_x = ((axis[-1] - axis[0]) / (axis.size - 1) for axis in (y, x))
        even = all(
            step != 0 and np.allclose(np.diff(axis), step, rtol=1e-3) for axis, step in ((y, step_y), (x, step_x))
        )
        return Affine(step_x, 0.0, x[0] - step_x / 2, 0.0, step_y, y[0] - step_y / 2) if even else None
    stored = _stored_transform(cube)
    return None if stored is None else Affine.from_gdal(*stored)


def refine(cube: xr.DataArray, values: Any, *, scale: int) -> xr.DataArray:
    """Wrap super-resolved values with the coordinates of the fine grid.

    The outer edges are kept: fine pixel k has its centre at (k + 1/2) / s - 1/2 in coarse pixels.

    Args:
        cube: LR cube (C, h, w) that the values were predicted from.
        values: Super-resolved values (C, s*h, s*w).
        scale: Ratio s.

    Returns:
        The values with the wavelengths, position and attributes of `cube`; ``gsd_m`` is divided by s.
    """
    coords: dict[str, Any] = {
        str(name): variable.variable for name, variable in cube.coords.items() if not {"y", "x"} & set(variable.dims)
    }
    if GRID in coords and (stored := _stored_transform(cube)) is not None:
        left, step_x, turn_x, top, turn_y, step_y = stored
        finer = (left, step_x / scale, turn_x / scale, top, turn_y / scale, step_y / scale)
        coords[GRID] = coords[GRID].copy()
        coords[GRID].attrs["GeoTransform"] = " ".join(str(value) for value in finer)
    transform = transform_of(cube)
    steps = {"y": None, "x": None} if transform is None else {"y": transform.e, "x": transform.a}
    for dim, step in steps.items():
        if dim in cube.coords:
            coarse = np.asarray(cube[dim].values, dtype=np.float64)
            coords[dim] = (dim, _finer(coarse, scale, step=step), cube[dim].attrs)
    attrs = dict(cube.attrs)
    if isinstance(gsd := attrs.get("gsd_m"), int | float | np.number) and math.isfinite(gsd):
        attrs["gsd_m"] = float(gsd) / scale
    return xr.DataArray(values, dims=cube.dims, coords=coords, attrs=attrs, name=cube.name)


def _finer(coarse: NDArray[np.float64], scale: int, *, step: float | None) -> NDArray[np.float64]:
    place = (np.arange(coarse.size * scale) + 0.5) / scale - 0.5
    if coarse.size == 1:
        return np.asarray(coarse[0] + place * (step or 0.0))
    left = np.clip(np.floor(place).astype(int), 0, coarse.size - 2)  # the outermost are extrapolated
    return np.asarray(coarse[left] + (place - left) * (coarse[left + 1] - coarse[left]))


def _stored_transform(cube: xr.DataArray) -> tuple[float, ...] | None:
    text = str(cube[GRID].attrs.get("GeoTransform", "")) if GRID in cube.coords else ""
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        return None
    return numbers if len(numbers) == 6 else None
