"""NetCDF: classic files through SciPy, NetCDF-4 (which is HDF5) through h5py. Written as classic, 64-bit offset."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.hdf5 import open_hdf5, read_dataset, text
from hsipipe.formats.labelled import cube_of, to_dataset

_HDF5 = b"\x89HDF\r\n\x1a\n"


def read(path: Path, *, variable: str | None = None) -> xr.DataArray:
    """Read the cube of a file."""
    with path.open("rb") as stream:
        magic = stream.read(8)
        if magic.startswith(b"CDF"):
            stream.seek(0)
            # An open stream, because SciPy maps a path into memory and leaks it when the file is truncated.
            with xr.open_dataset(stream, engine="scipy") as dataset:
                return cube_of(dataset.load(), variable)
    if magic == _HDF5:
        return cube_of(_read_netcdf4(path), variable)
    raise FileFormatError("no NetCDF file (neither the classic nor the HDF5 signature)")


def _read_netcdf4(path: Path) -> xr.Dataset:
    with open_hdf5(path) as datasets:
        variables = {}
        for name, entry in datasets.items():
            dims = tuple(_dim_name(name, entry, axis) for axis in range(entry.ndim))
            attrs: dict[str, Any] = {"units": text(entry.attrs["units"])} if "units" in entry.attrs else {}
            if not text(entry.attrs.get("NAME", "")).startswith("This is a netCDF dimension but not"):
                variables[name] = (dims, read_dataset(entry), attrs)
    return xr.Dataset(variables)


def _dim_name(name: str, entry: h5py.Dataset, axis: int) -> str:
    scales = entry.dims[axis]
    if len(scales):
        return str(scales[0].name).lstrip("/")
    return name if entry.ndim == 1 and entry.is_scale else f"{name}_axis{axis}"


def write(cube: xr.DataArray, path: Path) -> None:
    """Write the cube with its coordinates; attributes that classic NetCDF cannot hold become text, None is left out."""
    dataset, _ = to_dataset(cube.load())
    for variable in dataset.variables.values():
        variable.attrs = {str(key): _attribute(value) for key, value in variable.attrs.items() if value is not None}
    dataset.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


def _attribute(value: Any) -> str | NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return str(value)
    if array.ndim > 1 or array.dtype.kind not in "biuf":
        return text(value)
    # The format's whole numbers end at 32 bits.
    small = array.astype(np.int32) if array.dtype.kind != "f" else None
    return small if small is not None and np.array_equal(small, array) else array.astype(np.float64)


FORMAT = CubeFormat(title="NetCDF", read=read, write=write)
