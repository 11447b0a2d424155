"""The values of an opened cube, as models take them."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.datasets.admission import PLAUSIBLE
from hsipipe.errors import DataError


def scaled(cube: xr.DataArray, name: object, *, full_scale: float, example: str) -> NDArray[np.float32]:
    """The values (band, y, x) with 1.0 as the full range.

    Args:
        cube: As it was opened.
        name: Where it is from, for the message.
        full_scale: Value that means 1.0.
        example: How a caller says so, for the message.

    Raises:
        DataError: The values are out of the range that models are made for.
    """
    values = np.ascontiguousarray(cube.to_numpy() / np.float32(full_scale), dtype=np.float32)
    if np.nanmax(values, initial=0.0) > PLAUSIBLE:
        raise DataError(
            f"{name} has values up to {np.nanmax(values):g}, expected 1.0 as the full range; "
            f"say which value means 1.0, for example {example}."
        )
    return values
