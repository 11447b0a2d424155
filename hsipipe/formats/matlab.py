"""MATLAB files: v5 to v7.2 through SciPy, v7.3 (which is HDF5) through h5py."""

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


def read(path: Path, *, variable: str | None = None) -> xr.DataArray:
    """Read the cube of a file."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER + len(_HDF5))
    return (_read_hdf5 if _HDF5 in (head[:8], head[_HEADER:]) else _read_v5)(path, variable)


def _read_v5(path: Path, variable: str | None) -> xr.DataArray:
    listing = {str(name): tuple(shape) for name, shape, kind in scipy.io.whosmat(path) if kind not in _NO_NUMBERS}
    name = pick_variable(listing, variable)
    chosen = [key for key in listing if key == name or key.lower() in _NAMES]
    values = scipy.io.loadmat(path, variable_names=chosen)
    if name not in values:
        raise FileFormatError(f"variable {name!r} is listed but not there; the file seems truncated")
    return _cube(np.asarray(values[name]), {key: np.asarray(values[key]) for key in chosen if key in values})


def _read_hdf5(path: Path, variable: str | None) -> xr.DataArray:
    with open_hdf5(path) as datasets:
        name = pick_variable({key: entry.shape for key, entry in datasets.items()}, variable)
        values = _matlab_order(datasets[name])
        others = {key: read_dataset(entry) for key, entry in datasets.items() if key.lower() in _NAMES}
    return _cube(values, others)


def _matlab_order(entry: h5py.Dataset) -> NDArray[Any]:
    # MATLAB is column-major: its HDF5 files show the axes reversed, and carry the attribute MATLAB_class.
    values = read_dataset(entry)
    return values.T if "MATLAB_class" in entry.attrs else values


def _cube(values: NDArray[Any], others: dict[str, NDArray[Any]]) -> xr.DataArray:
    if values.ndim != 3:
        raise FileFormatError(f"the variable has rank {values.ndim}, expected 3")
    vectors = [v.ravel() for v in others.values() if v.size in values.shape and v.size == max(v.shape, default=0)]
    wavelengths = _in_nm(vectors[0]) if vectors else None
    cube = bands_first(values, bands=None if wavelengths is None else wavelengths.size)
    if wavelengths is not None and wavelengths.size != len(cube):
        wavelengths = None
    return make_cube(np.ascontiguousarray(cube), wavelength_nm=wavelengths)


def _in_nm(values: NDArray[Any]) -> NDArray[np.float64]:
    # No sensor sees beyond 100 um or below 100 nm, so small numbers are micrometres.
    return values.astype(np.float64) * (1e3 if values.max(initial=0) < 100 else 1.0)


_NO_NUMBERS = {"struct", "cell", "char", "object", "function", "opaque", "sparse"}
FORMAT = CubeFormat(title="MATLAB", read=read)
