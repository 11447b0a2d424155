"""Read an LR-HSI window by window: scaled, and without holes, the same values as those of the whole cube."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.inference.holes import Mask, check_holes, nearest_data
from hsipipe.inference.plan import Box
from hsipipe.inference.values import check_range, divided

_STRIP_BYTES, _MOST_STRIP_BYTES = 16 << 20, 64 << 20
"""Size of a strip, and the largest one where the chunks of the file are higher."""
ALL = slice(None)
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Holes:
    """Pixels without data, and where to take their values from.

    Attributes:
        mask: The pixels (h, w).
        rows: Row of the nearest pixel with data, (h, w).
        columns: Its column, (h, w).
    """

    mask: Mask
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SceneSource:
    """An LR-HSI in a file.

    Attributes:
        cube: Cube (band, y, x) as opened, lazy where the format allows.
        full_scale: Value of the cube that maps to 1.0.
        holes: Pixels without data; None: there are none.
    """

    cube: xr.DataArray
    full_scale: float
    holes: Holes | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, h, w)."""
        bands, height, width = self.cube.shape
        return bands, height, width

    def __getitem__(self, index: tuple[slice, slice]) -> Image:
        """Read rows, ``source[:, start:stop]``, as :meth:`read`; statistics of a scene are computed from them."""
        rows = range(self.shape[1])[index[1]]
        return self.read(Box(rows.start, rows.stop, 0, self.shape[2]))

    def read(self, box: Box, bands: slice = ALL) -> Image:
        """Read a box (C, rows, columns) float32; a pixel without data has the spectrum of the nearest one with data."""
        values = self.read_scaled(box, bands)
        if self.holes is None:
            return values
        missing = self.holes.mask[box.slices()[1:]]
        if not missing.any():
            return values
        rows, columns = (index[box.slices()[1:]][missing] for index in (self.holes.rows, self.holes.columns))
        inside = (box.y0 <= rows) & (rows < box.y1) & (box.x0 <= columns) & (columns < box.x1)
        spectra = np.empty((len(values), len(rows)), np.float32)
        spectra[:, inside] = values[:, rows[inside] - box.y0, columns[inside] - box.x0]
        spectra[:, ~inside] = self._spectra(rows[~inside], columns[~inside])[bands]
        values[:, missing] = spectra
        return values

    def strips(self, halo: int = 0) -> Iterator[tuple[Image, int]]:
        """Iterate over strips of all columns: (C, rows, w) with `halo` rows of the next strip, and the rows without."""
        _, height, width = self.shape
        step = _strip_rows(self.cube)
        for start in range(0, height, step):
            rows = min(step, height - start)
            yield self.read(Box(start, min(start + rows + halo, height), 0, width)), rows

    def read_scaled(self, box: Box, bands: slice = ALL) -> Image:
        """Read a box with its holes, NaN."""
        return divided(self.cube[(bands, *box.slices()[1:])], self.full_scale)

    def _spectra(self, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> Image:
        """Read the spectra (C, N) of pixels of the whole scene, a strip at a time."""
        spectra, step = np.empty((self.shape[0], len(rows)), np.float32), _strip_rows(self.cube)
        for strip in np.unique(rows // step):
            chosen = rows // step == strip
            y, x = rows[chosen], columns[chosen]
            box = Box(int(y.min()), int(y.max()) + 1, int(x.min()), int(x.max()) + 1)
            spectra[:, chosen] = self.read_scaled(box)[:, y - box.y0, x - box.x0]
        return spectra


def survey(cube: xr.DataArray, name: object, *, full_scale: float, example: str) -> SceneSource:
    """Read a cube once, strip by strip, to check its values and to find its holes.

    Args:
        cube: Cube (band, y, x) as opened.
        name: Source of the cube in messages.
        full_scale: Value that maps to 1.0.
        example: Example of the caller's setting in a message.

    Raises:
        DataError: The values are too large for reflectances, or a whole band, or the whole image, has no data.
    """
    source = SceneSource(cube, full_scale)
    bands, height, width = source.shape
    mask, dead, largest = np.zeros((height, width), bool), np.ones(bands, bool), 0.0
    start = 0
    for values, rows in source.strips():
        missing = np.isnan(values)
        mask[start : start + rows] = missing.any(axis=0)
        dead &= missing.all(axis=(1, 2))
        largest = max(largest, float(np.nanmax(values, initial=0.0)))
        start += rows
    check_range(largest, name, example=example)
    if not mask.any():
        return source
    check_holes(mask, dead, name)
    return SceneSource(cube, full_scale, Holes(mask, *nearest_data(mask)))


def _strip_rows(cube: xr.DataArray) -> int:
    """Return the rows of a strip: whole chunks of the file where they are small enough, since each is decoded whole."""
    bands, height, width = cube.shape
    row = 4 * bands * width
    chunk = max(cube.chunks[1]) if cube.chunks is not None else 1
    rows = -(-max(1, _STRIP_BYTES // row) // chunk) * chunk
    return min(height, rows, max(1, _MOST_STRIP_BYTES // row))
