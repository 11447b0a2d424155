"""What a file format is, and the shape that every cube has once it is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError

DIMS = ("band", "y", "x")


class Reader(Protocol):
    """Reads a file into a cube of dims (band, y, x)."""

    def __call__(self, path: Path, *, variable: str | None) -> xr.DataArray:
        """Read `variable` of `path`, or the only cube in it."""
        ...


@dataclass(frozen=True)
class CubeFormat:
    """One file format.

    Attributes:
        title: What people call it.
        read: Path to cube.
        write: Cube to the (temporary) path that becomes the file; None: it is only read.
        folder: The written thing is a folder.
    """

    title: str
    read: Reader
    write: Callable[[xr.DataArray, Path], None] | None = None
    folder: bool = False


def make_cube(values: Any, *, wavelength_nm: Sequence[float] | NDArray[Any] | None = None) -> xr.DataArray:
    """Wrap (band, y, x) values, a NumPy or Dask array, as a float32 cube.

    Raises:
        FileFormatError: The values are no numbers, have another rank or the wavelengths another length.
    """
    if values.ndim != 3 or 0 in values.shape:
        raise FileFormatError(f"a cube has 3 axes (band, y, x) without an empty one, got shape {values.shape}")
    if values.dtype.kind not in "iufb":
        raise FileFormatError(f"a cube holds real numbers, got {values.dtype}")
    cube = xr.DataArray(values.astype(np.float32, copy=False), dims=DIMS)
    return cube if wavelength_nm is None else with_wavelengths(cube, wavelength_nm)


def with_wavelengths(cube: xr.DataArray, wavelength_nm: Sequence[float] | NDArray[Any]) -> xr.DataArray:
    """Attach the bands' centre wavelengths in nm.

    Raises:
        FileFormatError: Their number is not that of the bands.
    """
    values = np.asarray(wavelength_nm, dtype=np.float64).ravel()
    if values.size != cube.sizes["band"]:
        raise FileFormatError(f"{values.size} wavelengths for {cube.sizes['band']} bands")
    return cube.assign_coords(wavelength_nm=("band", values, {"units": "nm", "long_name": "centre wavelength"}))


def pick_variable(shapes: dict[str, tuple[int, ...]], variable: str | None) -> str:
    """The variable that was asked for, or else the only (or by far the largest) one of rank 3.

    Raises:
        FileFormatError: There is no such variable, none of rank 3, or several of the same size.
    """
    listing = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()) or "nothing"
    if variable is not None:
        if variable not in shapes:
            raise FileFormatError(f"no variable {variable!r}; the file holds {listing}")
        return variable
    cubes = {name: int(np.prod(shape)) for name, shape in shapes.items() if len(shape) == 3 and 0 not in shape}
    if not cubes:
        raise FileFormatError(f"no variable of rank 3; the file holds {listing}")
    largest = max(cubes.values())
    names = [name for name, size in cubes.items() if size == largest]
    if len(names) > 1:
        raise FileFormatError(f"several cubes ({', '.join(names)}); name one with variable=...")
    return names[0]


def bands_first(values: NDArray[Any], *, bands: int | None = None) -> NDArray[Any]:
    """Move the band axis of (band, y, x) or (y, x, band) to the front.

    Args:
        values: Rank 3.
        bands: Number of bands where it is known, from a list of wavelengths for example.

    The last axis holds the bands, as MATLAB users keep them, unless the number of bands or two equal
    sides of the image point at the first.
    """
    first, middle, last = values.shape
    by_count = bands is not None and first == bands and last != bands
    by_square = (bands is None or last != bands) and middle == last != first
    return values if by_count or by_square else np.moveaxis(values, -1, 0)
