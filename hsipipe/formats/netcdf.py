"""NetCDF: classic files through SciPy, NetCDF-4 (HDF5) through h5py. Written as NetCDF-4."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.io import netcdf_file

from hsipipe.errors import FileFormatError, one_line
from hsipipe.formats.base import CubeFormat
from hsipipe.formats.hdf5 import open_labelled, text
from hsipipe.formats.hdf5_structure import SIGNATURE
from hsipipe.formats.labelled import cube_of, to_dataset
from hsipipe.formats.lazy import MappedSource, open_lazily
from hsipipe.formats.netcdf4_file import as_attribute, write_netcdf4

_MOST_CLASSIC_BYTES = 2**31 - 4
_HEADER_READS = 50_000
"""Most reads of a NetCDF header; a variable takes about ten, an attribute five."""


class _Header(io.FileIO):
    """Bound the reads of a header; SciPy keeps about 500 bytes for each entry of 32 bytes."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads > _HEADER_READS:
            raise FileFormatError("its header has too many entries; store the cube alone")
        return super().read(size) or b""


def _read_classic(path: Path) -> tuple[dict[str, xr.Variable], dict[str, Any]]:
    """List the variables of numbers and of characters, lazy from rank 2 on, and the attributes of the file."""
    reason = ""
    # The traceback of a truncated file keeps a view of it alive, and SciPy warns about that.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            with _Header(path) as stream, netcdf_file(stream, mmap=True, maskandscale=False) as file:
                if sum(array.data.nbytes for array in file.variables.values()) > path.stat().st_size:
                    raise FileFormatError("its variables share bytes; store each variable once")
                found = {name: _variable(path, array) for name, array in file.variables.items() if _is_read(array)}
                return found, _decoded(file._attributes)
        except FileFormatError:
            raise
        except Exception as error:  # SciPy raises errors of any type
            reason = one_line(error)
    raise FileFormatError(f"it cannot be read as classic NetCDF, the file is damaged or incomplete: {reason}")


def _is_read(array: Any) -> bool:
    data = np.asarray(array.data)
    return bool(data.dtype.kind in "iuf" or (data.dtype.kind == "S" and (data.ndim == 2 or data.size == 1)))


def _variable(path: Path, array: Any) -> xr.Variable:
    attrs = _decoded(array._attributes)
    values = array.data
    if values.ndim < 2 or 0 in values.shape:
        return xr.Variable(array.dimensions, np.array(values, dtype=values.dtype.newbyteorder("=")), attrs)
    whole = values
    while isinstance(whole.base, np.ndarray):  # SciPy's view of the whole file
        whole = whole.base
    offset = values.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    source = MappedSource(path, values.shape, values.dtype, offset, values.strides)
    return xr.Variable(array.dimensions, open_lazily(source, rows=values.ndim == 3), attrs)


def _decoded(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: text(value) if isinstance(value, bytes) else value for key, value in attributes.items()}


def save_classic(cube: xr.DataArray, path: Path) -> None:
    """Write a cube as classic NetCDF with 64-bit offsets, for programs that do not read NetCDF-4.

    Raises:
        FileFormatError: The values take 2 GiB or more, which SciPy cannot write.
    """
    check_classic(cube.nbytes)
    dataset, _ = to_dataset(cube.load())
    for variable in dataset.variables.values():
        attrs = {str(key): as_attribute(value) for key, value in variable.attrs.items() if value is not None}
        variable.attrs = {key: _of_classic(value) for key, value in attrs.items()}
    dataset.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


def check_classic(nbytes: int) -> None:
    """Check that values of this size can be written as classic NetCDF.

    Raises:
        FileFormatError: They take 2 GiB or more.
    """
    if nbytes > _MOST_CLASSIC_BYTES:
        raise FileFormatError(
            f"the result takes {nbytes} bytes, expected at most {_MOST_CLASSIC_BYTES} for classic NetCDF; "
            "use another format, or a smaller cube"
        )


def _of_classic(value: str | NDArray[Any]) -> str | NDArray[Any]:
    """Convert integers, of which classic NetCDF has none of 64 bits."""
    if isinstance(value, str):
        return value
    small = value.astype(np.int32) if value.dtype.kind != "f" else None
    return small if small is not None and np.array_equal(small, value) else value.astype(np.float64)


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
            variables, whole = _read_classic(path)
            return cube_of(variables, variable, bands, whole=whole)
        if magic == SIGNATURE:
            return open_labelled(path, variable, bands)
        raise FileFormatError("not a NetCDF file, expected the signature of classic NetCDF or of HDF5")

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write the cube and its coordinates as NetCDF-4; attributes that it cannot hold become text."""
        dataset, _ = to_dataset(cube.astype(np.float32) if cube.dtype == np.float16 else cube)
        write_netcdf4(dataset, path)


FORMAT = NetCdf()
