"""`hsipipe.degrade`: what a sensor of coarser pixels would have seen."""

from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.bands import band_label
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
        DataError: The scale is no whole number or does not divide height or width, or the cube holds NaN or no real
            numbers, or has no y and x.
    """
    scale = check_scale(scale)
    if isinstance(cube, xr.DataArray):
        return _degrade_labelled(cube, scale)
    values = np.asarray(cube)
    return _degrade_values(values, scale, band_axis=values.ndim - 3 if values.ndim > 2 else None)


def check_scale(scale: object) -> int:
    """A ratio s of pixel sizes as an int; ``4.0`` and NumPy's numbers count as whole numbers too.

    Raises:
        DataError: It is no whole number of 2 or more.
    """
    if isinstance(scale, Real):
        number = int(scale) if isinstance(scale, Integral) else float(scale)
        if number >= 2 and number % 1 == 0:  # of infinity, the remainder is NaN
            return int(number)
    raise DataError(f"scale must be a whole number of 2 or more, the ratio of the pixel sizes, got {scale!r}.")


def _degrade_values(
    values: NDArray[Any], scale: int, *, band_axis: int | None, wavelength_nm: NDArray[Any] | None = None
) -> NDArray[Any]:
    if values.ndim < 2:
        raise DataError(f"A cube has at least the axes y and x, got shape {values.shape}.")
    if values.dtype.kind not in "biuf":
        raise DataError(f"A cube holds real numbers, got {values.dtype}; convert it first.")
    with np.errstate(invalid="ignore"):
        low = downsample(values, scale)
    # Every input reaches an output, and looking at these costs s*s times less.
    bad = ~np.isfinite(low)
    if bad.any():
        where = "it"
        if band_axis is not None:
            where = band_label(int(np.argwhere(bad)[:, band_axis].min()), wavelength_nm)
        raise DataError(
            f"The cube has NaN or infinite values in {where}, which would spread over their surroundings; fill them."
        )
    return low


def _degrade_labelled(cube: xr.DataArray, scale: int) -> xr.DataArray:
    if not {"y", "x"} <= set(cube.dims):
        raise DataError(f"A cube has the dims y and x, got {', '.join(map(str, cube.dims))}; rename its dims.")
    ordered = cube.transpose(..., "y", "x")
    band_axis = ordered.dims.index("band") if "band" in ordered.dims else None
    wavelength_nm = ordered["wavelength_nm"].values if "wavelength_nm" in ordered.coords else None
    values = _degrade_values(ordered.values, scale, band_axis=band_axis, wavelength_nm=wavelength_nm)
    coords = {name: _coarser(coord, scale) for name, coord in ordered.coords.items()}
    kept = {name: coord for name, coord in coords.items() if coord is not None}
    attrs = dict(cube.attrs)
    if isinstance(attrs.get("gsd_m"), Real):
        attrs["gsd_m"] = float(attrs["gsd_m"]) * scale  # NumPy's small integers would overflow
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
