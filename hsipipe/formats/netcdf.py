"""NetCDF: classic files through SciPy, NetCDF-4 (HDF5) through h5py. Written as classic with 64-bit offsets."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.io import netcdf_file

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.hdf5 import SIGNATURE, read_variables, text
from hsipipe.formats.labelled import cube_of, to_dataset
from hsipipe.formats.lazy import MappedSource, open_lazily
from hsipipe.storage.stores import one_line


def _read_classic(path: Path) -> dict[str, xr.Variable]:
    """List the numeric variables; those of rank 2 and more are lazy."""
    reason = ""
    # The traceback of a truncated file keeps a view of it alive, and SciPy warns about that.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            with netcdf_file(path, mmap=True, maskandscale=False) as file:
                return {name: _variable(path, array) for name, array in file.variables.items() if _is_numeric(array)}
        except Exception as error:  # SciPy raises errors of any type
            reason = one_line(error)
    raise FileFormatError(f"it cannot be read as classic NetCDF, the file is damaged or incomplete: {reason}")


def _is_numeric(array: Any) -> bool:
    return bool(np.asarray(array.data).dtype.kind in "iuf")


def _variable(path: Path, array: Any) -> xr.Variable:
    attrs = {key: text(value) if isinstance(value, bytes) else value for key, value in array._attributes.items()}
    values = array.data
    if values.ndim < 2 or 0 in values.shape:
        return xr.Variable(array.dimensions, np.array(values, dtype=values.dtype.newbyteorder("=")), attrs)
    whole = values
    while isinstance(whole.base, np.ndarray):  # SciPy's view of the whole file
        whole = whole.base
    offset = values.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    source = MappedSource(path, values.shape, values.dtype, offset, values.strides)
    return xr.Variable(array.dimensions, open_lazily(source, rows=values.ndim == 3), attrs)


def _attribute(value: Any) -> str | NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return str(value)
    if array.ndim > 1 or array.dtype.kind not in "biuf":
        return text(value)
    # Classic NetCDF has no 64-bit integers.
    small = array.astype(np.int32) if array.dtype.kind != "f" else None
    return small if small is not None and np.array_equal(small, array) else array.astype(np.float64)


class NetCdf(CubeFormat):
    """NetCDF in its classic forms and as NetCDF-4."""

    title = "NetCDF"
    suffixes = (".nc", ".nc4", ".cdf")
    saved_as = (".nc",)

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a file lazily."""
        with path.open("rb") as stream:
            magic = stream.read(8)
        if magic.startswith(b"CDF"):
            return cube_of(_read_classic(path), variable, bands)
        if magic == SIGNATURE:
            return cube_of(read_variables(path), variable, bands)
        raise FileFormatError("not a NetCDF file, expected the signature of classic NetCDF or of HDF5")

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write the cube and its coordinates; attributes that the format cannot hold become text, None is skipped."""
        dataset, _ = to_dataset(cube.load())
        for variable in dataset.variables.values():
            variable.attrs = {str(key): _attribute(value) for key, value in variable.attrs.items() if value is not None}
        dataset.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


FORMAT = NetCdf()
