"""Cubes that are read by slices, with what they hold in pixels without data replaced or skipped."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
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
class Masked:
    """A cube whose values without data are replaced.

    Attributes:
        cube: (C, H, W).
        valid: Pixels with data (H, W).
        fill: Value of the others; with 0 they have no effect on sums.
    """

    cube: Cube
    valid: Mask
    fill: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands, rows and columns."""
        return self.cube.shape

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read some bands, ``[bands]``, or a part of them, ``[bands, rows]`` or ``[bands, rows, columns]``."""
        part = self.cube[index]
        inside = self.valid[index[1:]] if isinstance(index, tuple) else self.valid
        return np.where(inside, part, part.dtype.type(self.fill))

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


def window_rows(shape: tuple[int, ...], *, multiple: int = 1) -> Iterator[slice]:
    """Iterate over the rows of each window of a cube.

    Args:
        shape: Its shape (C, H, W).
        multiple: Windows begin at multiples of this.
    """
    bands, height, width = shape
    step = max(1, WINDOW_BYTES // max(1, 4 * prod((bands, width, multiple)))) * multiple
    return (slice(start, min(start + step, height)) for start in range(0, height, step))
