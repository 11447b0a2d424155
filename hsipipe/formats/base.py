"""Base class of the file formats, and the shape of a cube after reading."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.claims import check_sides
from hsipipe.storage.urls import Url

DIMS = ("band", "y", "x")
Shape = tuple[int, int, int]
PACKING = "packing"
"""Key of ``cube.encoding`` with scale and offset of the stored numbers."""


class CubeFormat(ABC):
    """File format of hyperspectral cubes.

    A subclass states its title and suffixes and implements :meth:`open`. It overrides the other methods only where
    its files need it.

    Attributes:
        title: Name of the format in messages.
        suffixes: Suffixes of its files or folders in lower case.
        saved_as: The suffixes that :meth:`save` writes; empty for a format that is only read.
        is_folder: A cube is a folder, not a file.
        has_variables: A file may hold several named arrays.
        beside: Suffixes, added to the name of a saved file, of the files that belong to it.
        reads_urls: :meth:`open_url` reads parts of a file on a server.
        writes_regions: :meth:`create` and :meth:`regions` write a file piece by piece in any order.
    """

    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    saved_as: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = False
    has_variables: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ()
    reads_urls: ClassVar[bool] = False
    writes_regions: ClassVar[bool] = False

    def recognises(self, path: Path) -> bool:
        """Return True if this format opens the existing file or folder `path`.

        Raises:
            FileFormatError: `path` is of this format by its name, but its contents are not.
        """
        return path.is_file() and path.suffix.lower() in self.suffixes

    @abstractmethod
    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the array `variable`, or the only cube, as dims (band, y, x).

        Args:
            path: File or folder that :meth:`recognises` accepts.
            variable: Name of the array; None where `has_variables` is False.
            bands: Number of bands, if known; identifies the band axis of unnamed axes.

        Raises:
            FileFormatError: The file is damaged, or holds no cube or several. Any other error of a parser is reported
                as this one by :func:`~hsipipe.formats.open_save.open_cube`.
        """

    def open_url(self, url: Url, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """As :meth:`open`, for a file or folder on a server of which the bytes of the windows alone are fetched."""
        raise FileFormatError(f"{self.title} is not read over the network; download it")

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write a cube (band, y, x) to `path`, a temporary name that becomes the file when writing succeeds."""
        raise FileFormatError(f"{self.title} is only read; save the cube in another format")

    def create(self, cube: xr.DataArray, path: Path, *, chunk: Shape, shard: Shape) -> None:
        """Create a file or folder with everything but the values of a lazy cube, which are not read.

        A kill while its regions are written loses no region that was complete.

        Args:
            cube: Lazy cube (band, y, x).
            path: New file or folder.
            chunk: Shape of a unit that is compressed and checked, in a format that has such units.
            shard: Shape of the regions that are written, a multiple of `chunk`.
        """
        raise FileFormatError(f"{self.title} is not written in regions; save the cube as .zarr, .npy or ENVI")

    def regions(self, path: Path) -> Any:
        """Open the values of a created file, (band, y, x), for writing and reading by slices."""
        raise FileFormatError(f"{self.title} is not written in regions; save the cube as .zarr, .npy or ENVI")

    def sizes(self, nbytes: int) -> list[int]:
        """Return the sizes of all files that are on the disk at once at most while values of `nbytes` are saved."""
        return [nbytes]

    def limits(self) -> tuple[int | None, int | None]:
        """Return the largest number of bands, and of rows or columns, that a file can hold; None: any number."""
        return None, None

    def files(self, path: Path) -> list[Path]:
        """List all files of the cube at `path`, sorted; hidden files of a folder are not part of it."""
        if path.is_file():
            return [path]
        found = [file for file in path.rglob("*") if file.is_file()]
        return sorted(file for file in found if not any(p.startswith(".") for p in file.relative_to(path).parts))

    def is_main(self, path: Path) -> bool:
        """Return True if `path` is the file by which a listing shows the cube."""
        return True


def make_cube(values: Any, *, wavelength_nm: Sequence[float] | NDArray[Any] | None = None) -> xr.DataArray:
    """Wrap (band, y, x) values, a NumPy or Dask array, as a float32 cube.

    Raises:
        FileFormatError: The values are not real numbers, are not of rank 3, or differ from the wavelengths in length.
    """
    if values.ndim != 3 or 0 in values.shape:
        raise FileFormatError(f"a cube has 3 axes (band, y, x), none of them empty; got shape {values.shape}")
    if values.dtype.kind not in "iufb":
        raise FileFormatError(f"a cube holds real numbers, got {values.dtype}; store its magnitude or real part")
    cube = xr.DataArray(as_float32(values), dims=DIMS).rename(
        None
    )  # the name of the Dask array would be written to files
    return cube if wavelength_nm is None else with_wavelengths(cube, wavelength_nm)


def as_float32(values: Any) -> Any:
    """Convert a NumPy or Dask array to float32; values beyond its range become infinite, without a warning."""
    if isinstance(values, np.ndarray):
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)
    return values.map_blocks(as_float32, dtype=np.float32)


def with_wavelengths(cube: xr.DataArray, wavelength_nm: Sequence[float] | NDArray[Any]) -> xr.DataArray:
    """Attach the centre wavelengths of the bands in nm, (C,).

    Raises:
        FileFormatError: The number of wavelengths differs from the number of bands.
    """
    values = np.asarray(wavelength_nm, dtype=np.float64).ravel()
    if values.size != cube.sizes["band"]:
        raise FileFormatError(f"{values.size} wavelengths for {cube.sizes['band']} bands")
    return cube.assign_coords(wavelength_nm=("band", values, {"units": "nm", "long_name": "centre wavelength"}))


def with_widths(cube: xr.DataArray, fwhm_nm: Sequence[float] | NDArray[Any]) -> xr.DataArray:
    """Attach the full widths of the bands at half maximum in nm, (C,)."""
    values = np.asarray(fwhm_nm, dtype=np.float64).ravel()
    return cube.assign_coords(fwhm_nm=("band", values, {"units": "nm", "long_name": "full width at half maximum"}))


def one_packing(scale: Any, offset: Any) -> tuple[float, float] | None:
    """Return the scale and the offset that all bands have; None if they differ."""
    both = [np.unique(np.asarray(numbers, dtype=np.float64)) for numbers in (scale, offset)]
    return None if any(found.size != 1 for found in both) else (float(both[0][0]), float(both[1][0]))


def remember(
    cube: xr.DataArray,
    *,
    dtype: Any,
    variable: str | None = None,
    variables: Mapping[str, tuple[int, ...]] | None = None,
    packing: tuple[float, float] | None = (1.0, 0.0),
) -> xr.DataArray:
    """Record in ``cube.encoding`` how the file stores the cube, for ``hsipipe info`` and error messages.

    Args:
        cube: The cube, changed in place.
        dtype: Type of the numbers in the file.
        variable: Name of the array in the file.
        variables: Shapes of all arrays of the file.
        packing: Scale and offset that were applied to the stored numbers; None: not the same for all bands.
    """
    # Not the key "dtype": xarray would write a later cube with it.
    cube.encoding = {"stored_dtype": np.dtype(dtype).name, "variable": variable, "variables": dict(variables or {})}
    cube.encoding[PACKING] = packing
    return cube


def pick_variable(shapes: Mapping[str, tuple[int, ...]], variable: str | None, *, hint: str = "") -> str:
    """Pick the requested variable, or the largest one of rank 3 if none is requested.

    Args:
        shapes: Shapes of the arrays in the file by name. A name may be a path, ``a/b`` or ``a.b``.
        variable: Requested name: the whole name, its last part if that is unique, or the group or struct that holds
            the cube.
        hint: Text to append to the message when no variable has rank 3.

    Raises:
        FileFormatError: The variable does not exist, no variable has rank 3, or several share the largest size.
    """
    listing = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()) or "nothing"
    if variable is not None:
        alike = [name for name in shapes if re.split(r"[./]", name)[-1] == variable]
        inside = {name: shape for name, shape in shapes.items() if name.startswith((f"{variable}.", f"{variable}/"))}
        if variable not in shapes and inside:
            return pick_variable(inside, None, hint=hint)
        if variable not in shapes and len(alike) != 1:
            raise FileFormatError(f"no variable {variable!r}; the file holds {listing}")
        name = variable if variable in shapes else alike[0]
        check_sides(name, shapes[name])
        return name
    cubes = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) == 3 and 0 not in shape}
    if not cubes:
        raise FileFormatError(f"no variable of rank 3; the file holds {listing}{hint}")
    largest = max(cubes.values())
    names = [name for name, size in cubes.items() if size == largest]
    if len(names) > 1:
        raise FileFormatError(f"several cubes ({', '.join(names)}); name one with variable=...")
    check_sides(names[0], shapes[names[0]])
    return names[0]
