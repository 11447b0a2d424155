"""MATLAB: v5 to v7.2 through SciPy, v7.3 (HDF5, read lazily) through h5py."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import FileFormatError
from hsipipe.formats.axes import band_axis, bands_to_front
from hsipipe.formats.base import CubeFormat, make_cube, pick_variable, remember
from hsipipe.formats.claims import AtOnce
from hsipipe.formats.hdf5 import lazy_dataset, open_file, read_dataset, text, walk
from hsipipe.formats.hdf5_structure import SIGNATURE
from hsipipe.formats.matlab_safety import check_mat5
from hsipipe.formats.wavelengths import find_bad_bands, find_wavelengths

# MATLAB writes a text header of 512 bytes before the HDF5 signature; other programs may omit it.
_HEADER = 512
# Names of the numbers of rows and columns of an image stored as a matrix of pixels, in lower case.
_SIDES = (
    ("nrow", "ncol"),
    ("nrows", "ncols"),
    ("rows", "cols"),
    ("rows", "columns"),
    ("row", "col"),
    ("lines", "samples"),
    ("nlines", "nsamples"),
    ("height", "width"),
    ("h", "w"),
    ("ny", "nx"),
)
_COUNTS = ("nband", "nbands", "numband", "numbands", "bands", "nb", "n_bands", "num_bands")
_NO_NUMBERS = ("struct", "cell", "char", "object", "function", "opaque", "sparse", "unknown")
_MOST_SMALL = 100_000
"""Length up to which a vector may describe the axes of a cube and is read."""


@dataclass(frozen=True)
class _Array:
    """Array of a file, with the axes in MATLAB's order."""

    shape: tuple[int, ...]
    load: Callable[[], Any]
    logical: bool = False


@dataclass
class _Contents:
    """Contents of a file: arrays of real numbers by name, and the class of all other variables."""

    arrays: dict[str, _Array] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def small(self) -> dict[str, NDArray[Any]]:
        """Read scalars and short vectors, flattened, by name."""
        shapes = {name: array.shape for name, array in self.arrays.items()}
        names = [n for n, shape in shapes.items() if math.prod(shape) == max(shape, default=1) <= _MOST_SMALL]
        at_once = AtOnce()
        names = [name for name in names if at_once.take(8 * math.prod(shapes[name]))]
        return {name: np.asarray(self.arrays[name].load()).ravel() for name in names if 0 not in shapes[name]}


def _list_v5(path: Path) -> _Contents:
    contents = _Contents()
    whole: list[str] = []  # read in one call: structs and short vectors
    for key, shape, kind in scipy.io.whosmat(path):
        name = str(key)
        is_small = math.prod(shape) == max(shape, default=1) <= _MOST_SMALL
        if kind == "struct" or (is_small and kind not in _NO_NUMBERS):
            whole.append(name)
        elif kind in _NO_NUMBERS:
            contents.others[name] = kind
        else:
            contents.arrays[name] = _Array(tuple(shape), _loader(path, name), kind == "logical")
    loaded = scipy.io.loadmat(path, variable_names=whole) if whole else {}
    for name in whole:
        if name not in loaded:
            raise FileFormatError(f"variable {name!r} is listed but missing; the file is truncated")
        _add_v5(contents, name, loaded[name])
    return contents


def _loader(path: Path, name: str) -> Callable[[], NDArray[Any]]:
    def load() -> NDArray[Any]:
        found = scipy.io.loadmat(path, variable_names=[name])
        if name not in found:
            raise FileFormatError(f"variable {name!r} is listed but missing; the file is truncated")
        return np.asarray(found[name])

    return load


def _add_v5(contents: _Contents, name: str, value: Any) -> None:
    """Add a loaded value; a struct is added field by field as ``struct.field``."""
    if not isinstance(value, np.ndarray):
        contents.others[name] = "sparse" if hasattr(value, "nnz") else "object"
    elif value.dtype.names and value.size == 1:
        for part, entry in zip(value.dtype.names, value.item(), strict=True):
            _add_v5(contents, f"{name}.{part}", entry)
    elif value.dtype.kind in "iufbc":
        contents.arrays[name] = _Array(value.shape, lambda: value, value.dtype.kind == "b")
    else:
        contents.others[name] = (
            "struct array" if value.dtype.names else {"O": "cell", "U": "char"}.get(value.dtype.kind, "object")
        )


def _list_hdf5(path: Path, file: h5py.File) -> _Contents:
    contents = _Contents()
    sparse: list[str] = []
    for key, entry in walk(file):
        name = key.replace("/", ".")
        kind = text(entry.attrs.get("MATLAB_class", b""))
        if any(key.startswith(f"{parent}/") for parent in sparse):
            continue
        if isinstance(entry, h5py.Group):
            if "MATLAB_sparse" in entry.attrs:
                sparse.append(key)
                contents.others[name] = "sparse"
        elif isinstance(entry, h5py.Dataset):
            _add_hdf5(contents, name, path, entry, kind)
    return contents


def _add_hdf5(contents: _Contents, name: str, path: Path, entry: h5py.Dataset, kind: str) -> None:
    if entry.dtype.names or kind in _NO_NUMBERS or entry.dtype.kind not in "iufb" or entry.shape is None:
        is_complex = entry.dtype.kind == "c" or entry.dtype.names == ("real", "imag")
        contents.others[name] = "complex" if is_complex else kind or str(entry.dtype)
        return
    if "MATLAB_empty" in entry.attrs:  # its values are the shape
        contents.others[name] = "empty array"
        return
    # MATLAB is column-major: axes are reversed in its HDF5 files, which have the attribute MATLAB_class.
    turned = "MATLAB_class" in entry.attrs
    shape = entry.shape[::-1] if turned else entry.shape

    def load() -> Any:
        large = entry.ndim > 1 and math.prod(entry.shape) > _MOST_SMALL
        values = lazy_dataset(path, entry) if large else read_dataset(entry)
        return values.T if turned else values

    contents.arrays[name] = _Array(shape, load, kind == "logical")


def _cube(contents: _Contents, variable: str | None, bands: int | None) -> xr.DataArray:
    small = contents.small()
    sides = _find_sides(small)
    folded = {name: _folded(array.shape, sides) for name, array in contents.arrays.items()}
    name = _pick(contents, folded, variable)
    values = contents.arrays[name].load()
    if values.dtype.kind not in "iufb":
        raise FileFormatError(f"variable {name!r} is {values.dtype}, expected real numbers; store its magnitude")
    pixels = _pixel_axis(values.shape, sides)
    sizes = values.shape if pixels is None else (values.shape[1 - pixels],)
    found = find_wavelengths(small, sizes)
    if pixels is not None and sides is not None:
        # MATLAB stores pixels column by column.
        cube = np.moveaxis(values, pixels, 0).reshape(sides[1], sides[0], -1).transpose(2, 1, 0)
    elif values.ndim == 2:  # an image requested by name is one band
        cube = values[None]
    elif values.ndim == 3:
        images = [array.shape for array in contents.arrays.values() if len(array.shape) == 2 and min(array.shape) > 1]
        counts = [count for count in (bands, found[1].size if found else None) if count]
        counts += [int(v[0]) for key, v in small.items() if v.size == 1 and _last(key) in _COUNTS and np.isfinite(v[0])]
        counts += [v.size for key, v in small.items() if v.size > 1 and "band" in _last(key)]
        cube = bands_to_front(values, band_axis(values, counts=counts, images=images))
    else:
        raise FileFormatError(f"the variable has rank {values.ndim}, expected 3, or 2 for one band")
    wavelengths = found[1] if found is not None and found[1].size == len(cube) else None
    made = make_cube(np.ascontiguousarray(cube) if isinstance(cube, np.ndarray) else cube, wavelength_nm=wavelengths)
    if (bad := find_bad_bands(small, len(made))) is not None:
        made.attrs["bad_bands"] = bad
    shapes = {key: array.shape for key, array in contents.arrays.items()}
    return remember(made, dtype=values.dtype, variable=name, variables=shapes)


def _pick(contents: _Contents, shapes: Mapping[str, tuple[int, ...]], variable: str | None) -> str:
    if variable in contents.others:
        raise FileFormatError(
            f"variable {variable!r} is of class {contents.others[variable]}, expected a full array of real numbers"
        )
    if variable is not None:
        return pick_variable(shapes, variable)
    hint = "; skipped: " + ", ".join(f"{k} ({v})" for k, v in contents.others.items()) if contents.others else ""
    if any(len(shape) == 2 and min(shape) > 1 for shape in shapes.values()):
        hint += ". A matrix (bands, pixels) needs the size of its image: store nRow and nCol in the same file"
    numbers = {name: shape for name, shape in shapes.items() if not contents.arrays[name].logical}
    return pick_variable(numbers, None, hint=hint)


def _find_sides(small: Mapping[str, NDArray[Any]]) -> tuple[int, int] | None:
    scalars = {_last(key): float(v[0].real) for key, v in small.items() if v.size == 1 and np.isfinite(v[0])}
    for rows, columns in _SIDES:
        if rows in scalars and columns in scalars and min(scalars[rows], scalars[columns]) >= 1:
            return int(scalars[rows]), int(scalars[columns])
    return None


def _pixel_axis(shape: tuple[int, ...], sides: tuple[int, int] | None) -> int | None:
    """Return the axis of a matrix that runs over all pixels of an image of this size; None: no axis does."""
    if sides is None or len(shape) != 2:
        return None
    return next((axis for axis in (1, 0) if shape[axis] == sides[0] * sides[1]), None)


def _folded(shape: tuple[int, ...], sides: tuple[int, int] | None) -> tuple[int, ...]:
    """Return the shape after folding a matrix of pixels into a cube, as :func:`_cube` does."""
    pixels = _pixel_axis(shape, sides)
    return shape if pixels is None or sides is None else (shape[1 - pixels], *sides)


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower()


class Matlab(CubeFormat):
    """MATLAB files of all versions since 5."""

    title = "MATLAB"
    suffixes = (".mat",)

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a file; v7.3 lazily."""
        with path.open("rb") as stream:
            head = stream.read(_HEADER + len(SIGNATURE))
        if SIGNATURE in (head[:8], head[_HEADER:]):
            with open_file(path) as file:
                return _cube(_list_hdf5(path, file), variable, bands)
        check_mat5(path)
        return _cube(_list_v5(path), variable, bands)


FORMAT = Matlab()
