"""NumPy's .npy and .npz, (band, y, x). Pickled objects are refused."""

from pathlib import Path

import numpy as np
import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat, make_cube, pick_variable

_WAVELENGTH_KEYS = ("wavelength_nm", "wavelengths_nm")


def read_npy(path: Path, *, variable: str | None = None) -> xr.DataArray:
    """Read one array."""
    if variable is not None:
        raise FileFormatError("a .npy file holds one array and no variables")
    return make_cube(np.load(path, allow_pickle=False))


def read_npz(path: Path, *, variable: str | None = None) -> xr.DataArray:
    """Read the cube of an archive, and ``wavelength_nm`` beside it."""
    # An open stream, because NumPy leaks one of its own when the archive is truncated.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = pick_variable({key: value.shape for key, value in arrays.items()}, variable)
    wavelengths = next((arrays[key] for key in _WAVELENGTH_KEYS if key in arrays), None)
    return make_cube(arrays[name], wavelength_nm=wavelengths)


def write_npy(cube: xr.DataArray, path: Path) -> None:
    """Write the values; wavelengths have no place in a .npy."""
    with path.open("wb") as stream:  # np.save adds .npy to a name that lacks it
        np.save(stream, np.ascontiguousarray(cube.values), allow_pickle=False)


NPY = CubeFormat(title="NumPy .npy", read=read_npy, write=write_npy)
NPZ = CubeFormat(title="NumPy .npz", read=read_npz)
