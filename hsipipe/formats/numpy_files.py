"""NumPy's .npy (lazily) and .npz, (band, y, x). Pickled objects are refused."""

import zipfile
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.lib import format as npy_format

from hsipipe.errors import FileFormatError
from hsipipe.formats.axes import bands_to_front
from hsipipe.formats.base import CubeFormat, make_cube, pick_variable, remember
from hsipipe.formats.lazy import MappedSource, open_lazily
from hsipipe.formats.wavelengths import find_wavelengths


def read_npy(path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
    """Open one array; its values stay in the file until they are needed."""
    if variable is not None:
        raise FileFormatError("a .npy file holds one array and no variables")
    # Mapping it checks that the file is as long as its header says.
    values = np.load(path, allow_pickle=False, mmap_mode="r")
    if values.ndim != 3 or 0 in values.shape:
        return make_cube(values)
    source = MappedSource(path, values.shape, values.dtype, values.offset, values.strides)
    cube = bands_to_front(open_lazily(source), _axis(values.shape, bands))
    return remember(make_cube(cube), dtype=values.dtype)


def read_npz(path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
    """Read the cube of an archive and the wavelengths beside it, whose number also tells the axis of the bands."""
    # An open stream, because NumPy leaks one of its own when the archive is truncated.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        shapes = {name: _shape(archive.zip, name) for name in archive.files}
        name = pick_variable(shapes, variable)
        values = archive[name]
        vectors = {key: archive[key] for key, shape in shapes.items() if len(shape) == 1 and shape[0] in values.shape}
    found = find_wavelengths(vectors, values.shape)
    count = None if found is None else found[1].size
    if values.ndim == 3:
        values = np.ascontiguousarray(bands_to_front(values, _axis(values.shape, bands or count)))
    wavelengths = found[1] if found is not None and count == values.shape[0] else None
    return remember(make_cube(values, wavelength_nm=wavelengths), dtype=values.dtype, variable=name, variables=shapes)


def _axis(shape: tuple[int, ...], bands: int | None) -> int:
    """The first axis holds the bands, unless their number says that only another one can."""
    return next((axis for axis in (0, 2, 1) if shape[axis] == bands), 0)


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    member = name if name in archive.namelist() else f"{name}.npy"
    with archive.open(member) as stream:
        version = npy_format.read_magic(stream)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        return tuple(read(stream)[0])


def write_npy(cube: xr.DataArray, path: Path) -> None:
    """Write the values; wavelengths have no place in a .npy."""
    with path.open("wb") as stream:  # np.save adds .npy to a name that lacks it
        np.save(stream, np.ascontiguousarray(cube.values), allow_pickle=False)


NPY = CubeFormat(title="NumPy .npy", read=read_npy, write=write_npy)
NPZ = CubeFormat(title="NumPy .npz", read=read_npz)
