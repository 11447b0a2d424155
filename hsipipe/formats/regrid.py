"""Carry the coordinates and the position of a cube over to larger or smaller pixels.

The outer edges of the image are kept.
"""

import json
import logging
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from hsipipe.errors import one_line
from hsipipe.formats.georeference import GCPS, GRID, RPCS, transform_of

logger = logging.getLogger(__name__)

_Resample: TypeAlias = Callable[[NDArray[np.float64], str], NDArray[np.float64]]
_Resize: TypeAlias = Callable[[float], float]
_GEOTRANSFORM = "GeoTransform"
_HALF_TURN = 180.0


def refine(cube: xr.DataArray, values: Any, *, scale: int) -> xr.DataArray:
    """Wrap super-resolved values with the coordinates of the fine grid.

    Fine pixel k has its centre at (k + 1/2) / s - 1/2 in coarse pixels.

    Args:
        cube: LR cube (C, h, w) that the values were predicted from.
        values: Super-resolved values (C, s*h, s*w).
        scale: Ratio s.

    Returns:
        The values with the wavelengths, position and attributes of `cube`; ``gsd_m`` is divided by s.
    """
    transform = transform_of(cube)
    steps = {"y": None, "x": None} if transform is None else {"y": transform.e, "x": transform.a}

    def finer(axis: NDArray[np.float64], dim: str) -> NDArray[np.float64]:
        return _finer(axis, scale, step=steps[dim])

    return _wrap(cube, values, resample=finer, resize=lambda length: length / scale)


def coarsen(cube: xr.DataArray, values: Any, *, scale: int) -> xr.DataArray:
    """Wrap degraded values with the coordinates of the coarse grid: the centres of the larger pixels.

    Args:
        cube: HR cube (..., H, W) with the dims y and x last.
        values: Degraded values (..., H/s, W/s).
        scale: Ratio s.

    Returns:
        The values with the wavelengths, position and attributes of `cube`; ``gsd_m`` is multiplied by s.
    """

    def coarser(axis: NDArray[np.float64], _: str) -> NDArray[np.float64]:
        return np.asarray(axis.reshape(-1, scale, *axis.shape[1:]).mean(axis=1))

    return _wrap(cube, values, resample=coarser, resize=lambda length: length * scale)


def _wrap(cube: xr.DataArray, values: Any, *, resample: _Resample, resize: _Resize) -> xr.DataArray:
    attrs = dict(cube.attrs)
    gsd = attrs.get("gsd_m")
    if isinstance(gsd, Real) and math.isfinite(gsd):
        attrs["gsd_m"] = resize(float(gsd))  # NumPy's small integers would overflow
    coords = {name: _resampled(cube, coord, resample, resize) for name, coord in cube.coords.items()}
    kept = {name: coord for name, coord in coords.items() if coord is not None}
    # Renamed: without a name, a cube would get that of the Dask array.
    return xr.DataArray(values, dims=cube.dims, coords=kept, attrs=attrs).rename(cube.name)


def _resampled(cube: xr.DataArray, coord: xr.DataArray, resample: _Resample, resize: _Resize) -> xr.Variable | None:
    """Return a coordinate of other pixels; None, with a warning, for one that cannot be resampled.

    Args:
        cube: Cube of the coordinate.
        coord: Coordinate.
        resample: Resamples the first axis of an array, which is that of the named dim, y or x.
        resize: Converts the length of a pixel.
    """
    variable = coord.variable.copy()
    if not {"y", "x"} & set(variable.dims):
        variable.attrs.pop(_GEOTRANSFORM, None)
        if coord.name == GRID:
            kept = {key: value for key, value in variable.attrs.items() if key not in (GCPS, RPCS)}
            variable.attrs = kept | _position(cube, coord.attrs, resize)
        return variable
    if not np.issubdtype(variable.dtype, np.number):
        logger.warning("the coordinate %r is dropped: its text has no value between pixels", coord.name)
        return None
    values = np.asarray(variable.values, dtype=np.float64)
    around = _crosses_date_line(coord.name, values)
    for place, dim in enumerate(variable.dims):
        if dim in ("y", "x"):
            values = np.unwrap(values, axis=place, period=2 * _HALF_TURN) if around else values
            values = np.moveaxis(resample(np.moveaxis(values, place, 0), str(dim)), 0, place)
    if around:
        values = (values + _HALF_TURN) % (2 * _HALF_TURN) - _HALF_TURN
    return xr.Variable(variable.dims, values, variable.attrs)


def _crosses_date_line(name: Any, values: NDArray[np.float64]) -> bool:
    finite = values[np.isfinite(values)]
    return str(name).lower().startswith("lon") and finite.size > 0 and bool(np.ptp(finite) > _HALF_TURN)


def _position(cube: xr.DataArray, attrs: dict[Any, Any], resize: _Resize) -> dict[str, str]:
    """Return the attributes of the grid mapping that depend on the size of the pixels."""
    found = {}
    if (transform := transform_of(cube)) is not None:
        a, b, left, d, e, top = transform[:6]
        numbers = Affine(resize(a), resize(b), left, resize(d), resize(e), top).to_gdal()
        found[_GEOTRANSFORM] = " ".join(str(float(number)) for number in numbers)
    ratio = resize(1.0)
    for key, convert in ((GCPS, _resized_points), (RPCS, _resized_coefficients)):
        if key in attrs:
            try:
                found[key] = json.dumps(convert(json.loads(attrs[key]), ratio))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                logger.warning("the position by %s is dropped, it cannot be read: %s", key, one_line(error))
    return found


def _resized_points(tree: Any, ratio: float) -> Any:
    """Scale ground control points, which are counted from the outer corner of the first pixel."""
    for point in tree["features"]:
        for key in ("row", "col"):
            point["properties"][key] /= ratio
    return tree


def _resized_coefficients(tree: Any, ratio: float) -> Any:
    """Scale rational polynomial coefficients, which are counted from the centre of the first pixel."""
    for side in ("LINE", "SAMP"):
        tree[f"{side}_OFF"] = str((float(tree[f"{side}_OFF"]) + 0.5) / ratio - 0.5)
        tree[f"{side}_SCALE"] = str(float(tree[f"{side}_SCALE"]) / ratio)
    return tree


def _finer(coarse: NDArray[np.float64], scale: int, *, step: float | None) -> NDArray[np.float64]:
    """Interpolate along the first axis; the outermost values are extrapolated."""
    size = len(coarse)
    place = (np.arange(size * scale) + 0.5) / scale - 0.5
    shape = (-1, *(1,) * (coarse.ndim - 1))
    if size == 1:
        return coarse + place * (step or 0.0) if coarse.ndim == 1 else coarse.repeat(scale, axis=0)
    left = np.clip(np.floor(place).astype(int), 0, size - 2)
    return np.asarray(coarse[left] + (place - left).reshape(shape) * (coarse[left + 1] - coarse[left]))
