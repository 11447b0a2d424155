"""Open and save cubes in any format of the catalogue."""

import os
from pathlib import Path

import xarray as xr

from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError
from hsipipe.formats.base import DIMS, CubeFormat
from hsipipe.formats.catalogue import FORMATS
from hsipipe.formats.recognise import recognise
from hsipipe.storage.publish import atomic_file, atomic_folder
from hsipipe.storage.stores import one_line


def open_cube(path: str | os.PathLike[str], *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
    """Open a hyperspectral cube.

    Args:
        path: A file, or a folder that is a cube (``x.zarr``, ``balloons_ms`` of the CAVE data, ``band_1.png`` to
            ``band_102.png``). Name an ENVI cube by its header or by its data file.
        variable: Name of the array in a file that holds several.
        bands: Number of bands, if known; it identifies the band axis where the file does not name its axes.

    A .npy is (band, y, x). MATLAB, HDF5 and Zarr need not name their axes: `bands`, wavelengths, a stored number of
    bands or a mask in the same file identify the band axis. Without them it is guessed from sizes and values.

    Returns:
        float32 with dims (band, y, x), lazy (Dask) where the format allows. ``wavelength_nm`` is a coordinate of band
        where the file stores wavelengths; y, x and ``spatial_ref`` follow rioxarray where it stores the position.
        Values are as stored, with three exceptions: PNGs are scaled from their bit depth to [0, 1]; a scale and an
        offset defined in NetCDF, HDF5, Zarr or GeoTIFF are applied; pixels marked as no data are NaN.

    Raises:
        MissingInputError: `path` does not exist.
        FileFormatError: The format is unknown, or the file is truncated or corrupt.
    """
    path = Path(path)
    form = recognise(path)
    if variable is not None and not form.has_variables:
        raise FileFormatError(f"{path}: {form.title} holds one cube and has no variables, got {variable!r}; omit it")
    try:
        cube = form.open(path, variable=variable, bands=bands)
        cube.encoding["format"] = form.title
        return cube
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except HsipipeError:
        raise
    except Exception as error:  # parsers of damaged files raise errors of any type
        raise FileFormatError(
            f"{path} cannot be read as {form.title}, the file is damaged or incomplete: {one_line(error)}"
        ) from error


def save_cube(cube: xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a cube (band, y, x) to .npy, .nc, .tif or .zarr; the file appears complete or not at all.

    Raises:
        FileFormatError: No format writes the suffix.
        DataError: `cube` is not a DataArray, or has other dims.
    """
    if not isinstance(cube, xr.DataArray):
        raise DataError(
            f"save_cube takes an xarray.DataArray, got {type(cube).__name__}; "
            f"wrap it: xarray.DataArray(values, dims={DIMS})."
        )
    path = Path(path)
    form = writer(path)
    if set(cube.dims) != set(DIMS):
        raise DataError(f"A cube has the dims {', '.join(DIMS)}, got {', '.join(map(str, cube.dims))}.")
    place = atomic_folder if form.is_folder else atomic_file
    with place(path) as temporary:
        form.save(cube.transpose(*DIMS), temporary)


def writer(path: Path) -> CubeFormat:
    """Return the format that saves to the suffix of `path`. Call it before long work to refuse a bad name early.

    Raises:
        FileFormatError: No format writes the suffix.
        MissingInputError: The parent folder does not exist.
    """
    writers = {suffix: form for form in FORMATS.values() for suffix in form.saved_as}
    form = writers.get(path.suffix.lower())
    if form is None:
        suffix = repr(path.suffix) if path.suffix else "a name without suffix"
        raise FileFormatError(f"{path}: cubes cannot be written as {suffix}; use {', '.join(sorted(writers))}")
    if not path.absolute().parent.is_dir():
        raise MissingInputError(f"{path}: there is no folder {path.absolute().parent}; create it first.")
    return form
