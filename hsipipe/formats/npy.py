"""NumPy .npy: one array (band, y, x), read lazily. Pickled objects are refused."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.lib.format import open_memmap

from hsipipe.formats.axes import axis_of_count, bands_to_front
from hsipipe.formats.base import CubeFormat, make_cube, remember
from hsipipe.formats.lazy import MappedSource, open_lazily
from hsipipe.storage.stores import rows_per_chunk


class Npy(CubeFormat):
    """NumPy's format of one array; it stores neither wavelengths nor a position."""

    title = "NumPy .npy"
    suffixes = (".npy",)
    saved_as = (".npy",)
    has_variables = False

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
        values = open_memmap(path, mode="w+", dtype=cube.dtype, shape=cube.shape)
        step = max(cube.chunks[1]) if cube.chunks is not None else rows_per_chunk(cube.shape)
        for start in range(0, cube.shape[1], step):
            values[:, start : start + step] = cube[:, start : start + step].values
        values.flush()


FORMAT = Npy()
