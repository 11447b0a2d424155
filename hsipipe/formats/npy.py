"""NumPy .npy: one array (band, y, x), read lazily. Pickled objects are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.lib.format import open_memmap

from hsipipe.formats.axes import axis_of_count, bands_to_front
from hsipipe.formats.base import CubeFormat, Shape, make_cube, remember
from hsipipe.formats.lazy import MappedSource, open_lazily, strips
from hsipipe.storage.space import create_file


class Npy(CubeFormat):
    """NumPy's format of one array; it stores neither wavelengths nor a position."""

    title = "NumPy .npy"
    suffixes = (".npy",)
    saved_as = (".npy",)
    has_variables = False
    writes_regions = True

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Map the array into memory; values are read on access."""
        # Mapping checks the length of the file against its header.
        values = np.load(path, allow_pickle=False, mmap_mode="r")
        if values.ndim != 3 or 0 in values.shape:
            return make_cube(values)
        source = MappedSource(path, values.shape, values.dtype, values.offset, values.strides)
        cube = bands_to_front(open_lazily(source), axis_of_count(values.shape, bands))
        return remember(make_cube(cube), dtype=values.dtype)

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write the values alone, strip by strip."""
        open_memmap(path, mode="w+", dtype=cube.dtype, shape=cube.shape)
        for rows, strip in strips(cube):
            # Mapped for each strip: the pages of an open map count as memory of this process.
            self.regions(path)[:, rows] = strip

    def create(self, cube: xr.DataArray, path: Path, *, chunk: Shape, shard: Shape) -> None:
        """Create a file of zeros."""
        open_memmap(path, mode="w+", dtype=cube.dtype, shape=cube.shape)
        create_file(path, path.stat().st_size)

    def regions(self, path: Path) -> Any:
        """Map the values."""
        return np.load(path, allow_pickle=False, mmap_mode="r+")


FORMAT = Npy()
