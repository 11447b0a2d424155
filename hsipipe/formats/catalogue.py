"""Which reader opens which file."""

import os
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from hsipipe.errors import DataError, FileFormatError, HsipipeError, MissingInputError
from hsipipe.formats import envi
from hsipipe.formats.band_images import find_images
from hsipipe.formats.base import DIMS, CubeFormat
from hsipipe.registry import Registry
from hsipipe.storage.publish import atomic_file, atomic_folder

FORMATS: Registry[CubeFormat] = Registry(
    "file format",
    {
        "bands": "hsipipe.formats.band_images:FORMAT",
        "cave": "hsipipe.formats.cave_png:FORMAT",
        "envi": "hsipipe.formats.envi:FORMAT",
        "geotiff": "hsipipe.formats.geotiff:FORMAT",
        "hdf5": "hsipipe.formats.hdf5:FORMAT",
        "matlab": "hsipipe.formats.matlab:FORMAT",
        "netcdf": "hsipipe.formats.netcdf:FORMAT",
        "npy": "hsipipe.formats.numpy_files:NPY",
        "npz": "hsipipe.formats.numpy_files:NPZ",
        "zarr": "hsipipe.formats.zarr_store:FORMAT",
    },
)

# Suffix, or what a folder holds, to the name of the format.
_SUFFIXES = {
    ".cdf": "netcdf",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdr": "envi",
    ".he5": "hdf5",
    ".mat": "matlab",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".npy": "npy",
    ".npz": "npz",
    ".tif": "geotiff",
    ".tiff": "geotiff",
    ".zarr": "zarr",
}
_WRITABLE = (".nc", ".npy", ".tif", ".tiff", ".zarr")
_BANDS = "[!.]*_ms_[0-9][0-9].png"
# CAVE's archive holds balloons_ms/balloons_ms.
_FOLDERS = (
    ("zarr.json", "zarr"),
    (".zgroup", "zarr"),
    (".zarray", "zarr"),
    (_BANDS, "cave"),
    (f"*_ms/{_BANDS}", "cave"),
)
# What may lie beside a GeoTIFF and is a part of it.
_SIDECARS = (".aux.xml", ".msk")


def open_cube(path: str | os.PathLike[str], *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
    """Open a hyperspectral cube.

    Args:
        path: A file, or a folder that is a cube (``x.zarr``, ``balloons_ms`` of the CAVE data, ``band_1.png`` to
            ``band_102.png``). An ENVI cube is named by its header or by its data file.
        variable: Name of the array in a file that holds several.
        bands: How many bands there are, if that is known: it tells their axis where the file does not.

    A .npy is (band, y, x). MATLAB, HDF5 and Zarr need not name their axes: `bands`, wavelengths, a number of bands or
    a mask beside the cube tell which holds the bands, and without them it is guessed from sizes and values.

    Returns:
        float32 with dims (band, y, x), lazy (Dask) where the format allows; ``wavelength_nm`` on band where the
        file knows it; y, x and ``spatial_ref`` (as rioxarray has them) where it knows the position. Values are as
        stored, except that PNGs are scaled from their bit depth to [0, 1], that a scale and an offset which NetCDF,
        HDF5, Zarr or GeoTIFF define are applied, and that pixels which the file marks as no data are NaN.

    Raises:
        MissingInputError: There is nothing at `path`.
        FileFormatError: The format is unknown, or the file is truncated or corrupt.
    """
    path = Path(path)
    name = detect(path)
    try:
        cube = FORMATS[name].read(path, variable=variable, bands=bands)
        cube.encoding["format"] = FORMATS[name].title
        return cube
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
    """Write a cube (band, y, x) to .npy, .nc, .tif or .zarr; the file appears whole or not at all.

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
    suffix = path.suffix.lower()
    form = FORMATS[_SUFFIXES[suffix]] if suffix in _WRITABLE else None
    if form is None or form.write is None:
        raise FileFormatError(
            f"{path}: cubes cannot be written as {path.suffix or 'a name without suffix'!r}; use {', '.join(_WRITABLE)}"
        )
    if not path.absolute().parent.is_dir():
        raise MissingInputError(f"{path}: there is no folder {path.absolute().parent}; make it first.")
    return form, form.write


def detect(path: Path) -> str:
    """The name of the format of a file or folder, by its name and what lies beside it or in it.

    Raises:
        MissingInputError: There is nothing at `path`.
        FileFormatError: Nothing here reads it.
    """
    if not path.exists():
        raise MissingInputError(f"No file or folder at {path}.")
    if path.is_dir():
        return _detect_folder(path)
    if not path.is_file():
        raise FileFormatError(f"{path} is neither a file nor a folder")
    name = _SUFFIXES.get(path.suffix.lower(), "")
    if name == "envi" and not envi.is_header(path):
        raise FileFormatError(f"{path} is no ENVI header, it does not begin with ENVI")
    if name and not FORMATS[name].folder:
        return name
    if envi.header_of(path) is not None:
        return "envi"
    raise FileFormatError(
        f"{path}: nothing here reads {path.suffix or 'a file without suffix'!r}; "
        f"known: {', '.join(sorted(_SUFFIXES))}, ENVI data with its header beside it, and folders of band images"
    )


def is_cube(path: Path) -> bool:
    """Whether a file or folder in a listing is a cube, judged without reading it.

    An ENVI cube is listed once, as its header.
    """
    if path.name.startswith(("._", ".")) or not path.exists():
        return False
    try:
        name = detect(path)
    except (HsipipeError, OSError):
        return False
    if name != "envi":
        return True
    data = envi.data_of(path) if path.suffix.lower() == ".hdr" else None
    return data is not None and envi.header_of(data) == path


def companions(path: Path) -> list[Path]:
    """All files that belong to a cube, sorted: copied with their names kept, they are the cube.

    Raises:
        MissingInputError: There is nothing at `path`.
        FileFormatError: It is no cube.
    """
    name = detect(path)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        if name != "zarr":  # whose own files may begin with a dot
            files = [file for file in files if not any(p.startswith(".") for p in file.relative_to(path).parts)]
        return sorted(files)
    if name == "envi":
        is_header = path.suffix.lower() == ".hdr"
        other = envi.data_of(path) if is_header else envi.header_of(path)
        if other is None:
            raise FileFormatError(f"{path}: there is no data file beside this ENVI header; copy it there")
        return sorted({path, other})
    beside = [path.with_name(path.name + suffix) for suffix in _SIDECARS] + [path.with_suffix(".tfw")]
    return sorted([path, *(file for file in beside if name == "geotiff" and file.is_file())])


def _detect_folder(path: Path) -> str:
    for pattern, name in _FOLDERS:
        if any(path.glob(pattern)):
            return name
    try:
        images = find_images(path)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if images:
        return "bands"
    raise FileFormatError(
        f"{path} is a folder that holds neither a Zarr store nor bands as images (*_ms_01.png or band_1.png, ...)"
    )
