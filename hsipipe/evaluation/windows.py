"""Read cubes in windows of rows, so that neither a prediction nor its truth is ever whole in memory.

A metric sums over the windows. Cubes that fit into one window are read at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from dask import threaded
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask

WINDOW_BYTES = 32 << 20
"""Size of a window of float32 values; a window of the fewest rows that a metric allows may be larger."""


class Cube(Protocol):
    """An array (C, H, W) that is read by slices: of NumPy, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns."""

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        """Read a part."""

    def __len__(self) -> int:
        """Return the number of bands."""


@dataclass(frozen=True, eq=False)
class Known:
    """A cube whose values without data are zero, so that they have no effect on sums.

    Attributes:
        cube: (C, H, W).
        valid: Pixels with data (H, W).
    """

    cube: Cube
    valid: Mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns."""
        return self.cube.shape

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read bands, or a part of all bands, ``[:, rows]`` or ``[:, rows, columns]``."""
        part = self.cube[index]
        inside = self.valid[index[1:]] if isinstance(index, tuple) else self.valid
        return np.where(inside, part, part.dtype.type(0))

    def __len__(self) -> int:
        """Return the number of bands."""
        return len(self.cube)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all values."""
        del copy
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True, eq=False)
class ScoredPixels:
    """The valid pixels of a cube; each window of rows is one row of them, (C, 1, N).

    Attributes:
        cube: (C, H, W).
        valid: Pixels with data (H, W).
    """

    cube: Cube
    valid: Mask

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns of the cube."""
        return self.cube.shape

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]:
        """Read the valid pixels of some rows, ``[:, start:stop]``."""
        return np.asarray(self.cube[index][:, None, self.valid[index[1]]])

    def __len__(self) -> int:
        """Return the number of bands."""
        return len(self.cube)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all of them."""
        del copy
        return np.asarray(self[:, :], dtype=dtype)


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


def window_rows(shape: tuple[int, ...], *, multiple: int = 1) -> Iterator[slice]:
    """Iterate over the rows of each window of a cube.

    Args:
        shape: Its shape (C, H, W).
        multiple: Windows begin at multiples of this.
    """
    bands, height, width = shape
    step = max(1, WINDOW_BYTES // max(1, 4 * prod((bands, width, multiple)))) * multiple
    return (slice(start, min(start + step, height)) for start in range(0, height, step))


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
