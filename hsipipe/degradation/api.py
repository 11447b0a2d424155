"""`hsipipe.degrade`: what a sensor of coarser pixels would have seen."""

from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import downsample
from hsipipe.errors import DataError

Cube = TypeVar("Cube", xr.DataArray, NDArray[Any])


def degrade(cube: Cube, scale: int = 4) -> Cube:
    """Reduce a cube by antialiased bicubic interpolation (MATLAB's imresize).

    Args:
        cube: DataArray with dims y and x, or an array (..., H, W).
        scale: Ratio s of the pixel sizes, 2 or more.

    Returns:
        The same kind, H/s x W/s. Of a DataArray, the band coordinates and attributes stay, the coordinates
        y and x become the centres of the larger pixels, and ``gsd_m`` grows by s.

    Raises:
        DataError: The scale does not divide height or width, or the cube has NaN or no y and x.
    """
    if isinstance(scale, bool) or scale != int(scale) or scale < 2:
        raise DataError(f"scale must be a whole number of 2 or more, got {scale!r}.")
    if isinstance(cube, xr.DataArray):
        return _degrade_labelled(cube, int(scale))
    return _degrade_values(np.asarray(cube), int(scale))


def _degrade_values(values: NDArray[Any], scale: int) -> NDArray[Any]:
    if values.ndim < 2:
        raise DataError(f"A cube has at least the axes y and x, got shape {values.shape}.")
    with np.errstate(invalid="ignore"):
        low = downsample(values, scale)
    # Every input reaches an output, and looking at these costs s*s times less.
    if not np.isfinite(low).all():
        raise DataError("The cube holds NaN or infinite values, which would spread over their surroundings; fill them.")
    return low


def _degrade_labelled(cube: xr.DataArray, scale: int) -> xr.DataArray:
    if not {"y", "x"} <= set(cube.dims):
        raise DataError(f"A cube has the dims y and x, got {', '.join(map(str, cube.dims))}; rename its dims.")
    ordered = cube.transpose(..., "y", "x")
    values = _degrade_values(ordered.values, scale)
    coords = {name: _coarser(coord, scale) for name, coord in ordered.coords.items()}
    kept = {name: coord for name, coord in coords.items() if coord is not None}
    attrs = dict(cube.attrs)
    if isinstance(attrs.get("gsd_m"), (int, float)):
        attrs["gsd_m"] = attrs["gsd_m"] * scale
    coarse = xr.DataArray(values, dims=ordered.dims, coords=kept, attrs=attrs, name=cube.name)
    return coarse.transpose(*cube.dims)


def _coarser(coord: xr.DataArray, scale: int) -> xr.Variable | None:
    variable = coord.variable.copy()
    # rioxarray's grid mapping repeats the transform of the finer grid; without it, y and x are used.
    variable.attrs.pop("GeoTransform", None)
    if not {"y", "x"} & set(variable.dims):
        return variable
    if variable.ndim > 1 or not np.issubdtype(variable.dtype, np.number):
        return None
    centres = np.asarray(variable.values, dtype=np.float64).reshape(-1, scale).mean(axis=1)
    return xr.Variable(variable.dims, centres, variable.attrs)
