"""Scale the values of an opened cube to the range of the models."""

import numpy as np
import xarray as xr
from dask import threaded
from numpy.typing import NDArray

from hsipipe.errors import DataError
from hsipipe.full_scale import PLAUSIBLE


def scaled(cube: xr.DataArray, name: object, *, full_scale: float, example: str) -> NDArray[np.float32]:
    """Return the values (C, h, w) float32, divided by the full scale; infinite ones are NaN, no data.

    Args:
        cube: Cube (band, y, x) as opened.
        name: Source of the cube in the message.
        full_scale: Value that maps to 1.0.
        example: Example of the caller's setting in the message.

    Raises:
        DataError: The values are too large for reflectances.
    """
    values = divided(cube, full_scale)
    check_range(float(np.nanmax(values, initial=0.0)), name, example=example)
    return values


def divided(cube: xr.DataArray, full_scale: float) -> NDArray[np.float32]:
    """Read the values (C, h, w) float32 of a cube, divided by the full scale; infinite ones are NaN, no data."""
    data = cube.variable.data
    # By threads, also in a task of a cluster, where Dask would ask the cluster; named, it would import the cluster.
    read = data if isinstance(data, np.ndarray) else data.compute(scheduler=threaded.get)
    values = np.divide(read, np.float32(full_scale), dtype=np.float32, order="C")
    infinite = np.isinf(values)
    if infinite.any():
        values[infinite] = np.nan
    return values


def check_range(largest: float, name: object, *, example: str) -> None:
    """Check the largest value of a scaled cube.

    Args:
        largest: The value, where 1.0 is the full range.
        name: Source of the cube in the message.
        example: Example of the caller's setting in the message.

    Raises:
        DataError: It is too large for reflectances.
    """
    if largest > PLAUSIBLE:
        raise DataError(
            f"{name} has values up to {largest:g}, expected 1.0 as the full range; "
            f"set the value that maps to 1.0, for example {example}."
        )
