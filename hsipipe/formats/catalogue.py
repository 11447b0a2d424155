"""Which reader opens which file."""

import os
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError
from hsipipe.formats.base import DIMS, CubeFormat
from hsipipe.registry import Registry
from hsipipe.storage.publish import atomic_file, atomic_folder

FORMATS: Registry[CubeFormat] = Registry(
    "file format",
    {
        "cave": "hsipipe.formats.cave_png:FORMAT",
        "matlab": "hsipipe.formats.matlab:FORMAT",
        "netcdf": "hsipipe.formats.netcdf:FORMAT",
        "npy": "hsipipe.formats.numpy_files:NPY",
        "npz": "hsipipe.formats.numpy_files:NPZ",
        "zarr": "hsipipe.formats.zarr_store:FORMAT",
    },
)

# Suffix, or what a folder holds, to the name of the format.
_SUFFIXES = {".mat": "matlab", ".nc": "netcdf", ".npy": "npy", ".npz": "npz", ".zarr": "zarr"}
_BANDS = "[!.]*_ms_[0-9][0-9].png"
# CAVE's archive holds balloons_ms/balloons_ms.
_FOLDERS = (("zarr.json", "zarr"), (".zgroup", "zarr"), (_BANDS, "cave"), (f"*_ms/{_BANDS}", "cave"))


def open_cube(path: str | os.PathLike[str], *, variable: str | None = None) -> xr.DataArray:
    """Open a hyperspectral cube.

    Args:
        path: A file, or a folder that is a cube (``x.zarr``, ``balloons_ms`` of the CAVE data).
        variable: Name of the array in a file that holds several.

    Returns:
        float32 with dims (band, y, x); ``wavelength_nm`` on band where the file knows it. Values are as
        stored, except that CAVE's PNGs are scaled from their bit depth to [0, 1].

    Raises:
        MissingInputError: There is nothing at `path`.
        FileFormatError: The format is unknown, or the file is truncated or corrupt.
    """
    path = Path(path)
    name = detect(path)
    try:
        cube = FORMATS[name].read(path, variable=variable)
        return cube.transpose(*DIMS)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except HsipipeError:
        raise
    except Exception as error:  # parsers of damaged files raise whatever they meet first
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(
            f"{path} cannot be read as {FORMATS[name].title}, it seems damaged or incomplete: {reason}"
        ) from error


def save_cube(cube: xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a cube (band, y, x) to .npy, .nc or .zarr; the file appears whole or not at all.

    Raises:
        FileFormatError: No writer for the suffix.
        DataError: It is no DataArray, or has other dims.
    """
    if not isinstance(cube, xr.DataArray):
        raise DataError(
            f"save_cube takes an xarray.DataArray, got {type(cube).__name__}; "
            f"wrap it: xarray.DataArray(values, dims={DIMS})."
        )
    path = Path(path)
    form, write = writer(path)
    if set(cube.dims) != set(DIMS):
        raise DataError(f"A cube has the dims {', '.join(DIMS)}, got {', '.join(map(str, cube.dims))}.")
    place = atomic_folder if form.folder else atomic_file
    with place(path) as temporary:
        write(cube.transpose(*DIMS), temporary)


def writer(path: Path) -> tuple[CubeFormat, Callable[[xr.DataArray, Path], None]]:
    """The format that `path` names by its suffix, and how to write it; to be asked before long work.

    Raises:
        FileFormatError: No writer for the suffix.
        MissingInputError: The folder that it should lie in is not there.
    """
    name = _SUFFIXES.get(path.suffix.lower())
    form = FORMATS[name] if name else None
    if form is None or form.write is None:
        writable = sorted(suffix for suffix, key in _SUFFIXES.items() if FORMATS[key].write)
        raise FileFormatError(
            f"{path}: cubes cannot be written as {path.suffix or 'a name without suffix'!r}; use {', '.join(writable)}"
        )
    if not path.absolute().parent.is_dir():
        raise MissingInputError(f"{path}: there is no folder {path.absolute().parent}; make it first.")
    return form, form.write


def detect(path: Path) -> str:
    """The name of the format of a file or folder.

    Raises:
        MissingInputError: There is nothing at `path`.
        FileFormatError: Nothing here reads it.
    """
    if not path.exists():
        raise MissingInputError(f"No file or folder at {path}.")
    if path.is_dir():
        for pattern, name in _FOLDERS:
            if any(path.glob(pattern)):
                return name
        raise FileFormatError(f"{path} is a folder that holds neither a Zarr store nor CAVE bands (*_ms_01.png)")
    name = _SUFFIXES.get(path.suffix.lower(), "")
    if not name or FORMATS[name].folder:
        raise FileFormatError(
            f"{path}: nothing here reads {path.suffix or 'a file without suffix'!r}; "
            f"known: {', '.join(sorted(_SUFFIXES))} and folders of CAVE bands"
        )
    return name
