"""Read cubes in windows of rows, so that neither a prediction nor its truth is ever whole in memory.

A metric sums over the windows. Cubes that fit into one window are read at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from dask import threaded
from numpy.typing import NDArray

from hsipipe.artifacts.views import Cube, window_rows


@dataclass(frozen=True, eq=False)
class Lazy:
    """A Dask array of a file that is read by slices.

    Attributes:
        values: (C, H, W).
    """

    values: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns."""
        return tuple(self.values.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read a part."""
        # By threads, also in a task of a cluster, where Dask would ask the cluster.
        return np.asarray(self.values[index].compute(scheduler=threaded.get))

    def __len__(self) -> int:
        """Return the number of bands."""
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all values."""
        del copy
        return np.asarray(self[:], dtype=dtype)


def windows(*cubes: Cube, multiple: int = 1) -> Iterator[tuple[NDArray[Any], ...]]:
    """Iterate over the same windows of cubes of one height; a window without a pixel is skipped.

    Args:
        cubes: (C, H, W) each.
        multiple: Windows begin at multiples of this number of rows.
    """
    largest = max((cube.shape for cube in cubes), key=prod)
    for rows in window_rows(largest, multiple=multiple):
        parts = tuple(cube[:, rows] for cube in cubes)
        if parts[0].size:
            yield parts


def bands(cube: Cube) -> Iterator[NDArray[Any]]:
    """Iterate over the bands (H, W) of a cube."""
    return (cube[band] for band in range(len(cube)))
