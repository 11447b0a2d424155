"""What a file format is, and the shape that every cube has once it is read."""

import re
from collections.abc import Callable, Mapping, Sequence
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

    def __call__(self, path: Path, *, variable: str | None, bands: int | None) -> xr.DataArray:
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
        raise FileFormatError(f"a cube holds real numbers, got {values.dtype}; store its magnitude or real part")
    cube = xr.DataArray(as_float32(values), dims=DIMS).rename(None)  # Dask's name would be written into files
    return cube if wavelength_nm is None else with_wavelengths(cube, wavelength_nm)


def as_float32(values: Any) -> Any:
    """Convert a NumPy or Dask array; what is too large for the type becomes infinite, without a warning."""
    if isinstance(values, np.ndarray):
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)
    return values.map_blocks(as_float32, dtype=np.float32)


def with_wavelengths(cube: xr.DataArray, wavelength_nm: Sequence[float] | NDArray[Any]) -> xr.DataArray:
    """Attach the bands' centre wavelengths in nm.

    Raises:
        FileFormatError: Their number is not that of the bands.
    """
    values = np.asarray(wavelength_nm, dtype=np.float64).ravel()
    if values.size != cube.sizes["band"]:
        raise FileFormatError(f"{values.size} wavelengths for {cube.sizes['band']} bands")
    return cube.assign_coords(wavelength_nm=("band", values, {"units": "nm", "long_name": "centre wavelength"}))


def remember(
    cube: xr.DataArray,
    *,
    dtype: Any,
    variable: str | None = None,
    variables: Mapping[str, tuple[int, ...]] | None = None,
) -> xr.DataArray:
    """Note in ``cube.encoding`` how the file holds the cube, for people who ask what is in it.

    Args:
        cube: The cube, changed in place.
        dtype: Type of the numbers in the file.
        variable: Name of the array in the file.
        variables: Shapes of all arrays of the file.
    """
    # Not the key "dtype": xarray would write a later cube with it.
    cube.encoding = {"stored_dtype": np.dtype(dtype).name, "variable": variable, "variables": dict(variables or {})}
    return cube


def pick_variable(shapes: Mapping[str, tuple[int, ...]], variable: str | None, *, hint: str = "") -> str:
    """The variable that was asked for, or else the only (or by far the largest) one of rank 3.

    Args:
        shapes: Of the arrays in the file. A name may be a path, ``a/b`` or ``a.b``.
        variable: What was asked for: the whole name, its last part if that is unique, or the group
            or struct that holds the cube.
        hint: What the message adds when no variable has rank 3.

    Raises:
        FileFormatError: There is no such variable, none of rank 3, or several of the same size.
    """
    listing = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()) or "nothing"
    if variable is not None:
        alike = [name for name in shapes if re.split(r"[./]", name)[-1] == variable]
        inside = {name: shape for name, shape in shapes.items() if name.startswith((f"{variable}.", f"{variable}/"))}
        if variable not in shapes and inside:
            return pick_variable(inside, None, hint=hint)
        if variable not in shapes and len(alike) != 1:
            raise FileFormatError(f"no variable {variable!r}; the file holds {listing}")
        return variable if variable in shapes else alike[0]
    cubes = {name: int(np.prod(shape)) for name, shape in shapes.items() if len(shape) == 3 and 0 not in shape}
    if not cubes:
        raise FileFormatError(f"no variable of rank 3; the file holds {listing}{hint}")
    largest = max(cubes.values())
    names = [name for name, size in cubes.items() if size == largest]
    if len(names) > 1:
        raise FileFormatError(f"several cubes ({', '.join(names)}); name one with variable=...")
    return names[0]
