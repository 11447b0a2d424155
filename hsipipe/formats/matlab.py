"""MATLAB files: v5 to v7.2 through SciPy, v7.3 (which is HDF5) through h5py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat, bands_first, make_cube, pick_variable
from hsipipe.formats.hdf5 import open_hdf5, read_dataset

_HDF5 = b"\x89HDF\r\n\x1a\n"
# MATLAB puts a text header of 512 bytes before the HDF5 signature.
_HEADER = 512
_NAMES = ("wavelength_nm", "wavelengths", "wavelength", "wl", "lambda")
# Rows and columns of an image that is kept as a matrix (band, pixel), pixels column by column.
_SIDES = ("nRow", "nCol")


def read(path: Path, *, variable: str | None = None) -> xr.DataArray:
    """Read the cube of a file."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER + len(_HDF5))
    return (_read_hdf5 if _HDF5 in (head[:8], head[_HEADER:]) else _read_v5)(path, variable)


def _read_v5(path: Path, variable: str | None) -> xr.DataArray:
    listing = {str(name): tuple(shape) for name, shape, kind in scipy.io.whosmat(path) if kind not in _NO_NUMBERS}
    sides = _sides(scipy.io.loadmat(path, variable_names=_SIDES)) if set(_SIDES) <= set(listing) else None
    name = pick_variable({key: _cube_shape(shape, sides) for key, shape in listing.items()}, variable)
    chosen = [key for key in listing if key == name or key.lower() in _NAMES]
    values = scipy.io.loadmat(path, variable_names=chosen)
    if name not in values:
        raise FileFormatError(f"variable {name!r} is listed but not there; the file seems truncated")
    others = {key: np.asarray(values[key]) for key in chosen if key in values}
    return _cube(np.asarray(values[name]), others, sides)


def _read_hdf5(path: Path, variable: str | None) -> xr.DataArray:
    with open_hdf5(path) as datasets:
        sides = _sides({key: read_dataset(datasets[key]) for key in _SIDES}) if set(_SIDES) <= set(datasets) else None
        listing = {key: entry.shape[::-1] if _is_reversed(entry) else entry.shape for key, entry in datasets.items()}
        name = pick_variable({key: _cube_shape(shape, sides) for key, shape in listing.items()}, variable)
        values = read_dataset(datasets[name])
        values = values.T if _is_reversed(datasets[name]) else values
        others = {key: read_dataset(entry) for key, entry in datasets.items() if key.lower() in _NAMES}
    return _cube(values, others, sides)


def _is_reversed(entry: h5py.Dataset) -> bool:
    # MATLAB is column-major: its HDF5 files show the axes reversed, and carry the attribute MATLAB_class.
    return "MATLAB_class" in entry.attrs


def _sides(values: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    rows, columns = (int(np.asarray(values[key]).item()) for key in _SIDES)
    return rows, columns


def _cube_shape(shape: tuple[int, ...], sides: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape that a variable gets in :func:`_cube` where it is a matrix (band, pixel)."""
    if sides is None or len(shape) != 2 or shape[1] != sides[0] * sides[1]:
        return shape
    return shape[0], *sides


def _cube(values: NDArray[Any], others: dict[str, NDArray[Any]], sides: tuple[int, int] | None) -> xr.DataArray:
    vectors = [v.ravel() for v in others.values() if v.size in values.shape and v.size == max(v.shape, default=0)]
    wavelengths = _in_nm(vectors[0]) if vectors else None
    shape = _cube_shape(values.shape, sides)
    if shape != values.shape:
        cube = values.reshape(shape, order="F")
    elif values.ndim == 2:  # asked for by name: an image, which is one band
        cube = values[None]
    elif values.ndim == 3:
        cube = bands_first(values, bands=None if wavelengths is None else wavelengths.size)
    else:
        raise FileFormatError(f"the variable has rank {values.ndim}, expected 3, or 2 for one band")
    if wavelengths is not None and wavelengths.size != len(cube):
        wavelengths = None
    return make_cube(np.ascontiguousarray(cube), wavelength_nm=wavelengths)


def _in_nm(values: NDArray[Any]) -> NDArray[np.float64]:
    # No sensor sees beyond 100 um or below 100 nm, so small numbers are micrometres.
    return values.astype(np.float64) * (1e3 if values.max(initial=0) < 100 else 1.0)


_NO_NUMBERS = {"struct", "cell", "char", "object", "function", "opaque", "sparse"}
FORMAT = CubeFormat(title="MATLAB", read=read)
