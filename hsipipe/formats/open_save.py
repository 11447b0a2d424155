"""Open and save cubes in any format of the catalogue."""

import os
from pathlib import Path

import xarray as xr

from hsipipe.errors import DataError, FileFormatError, HsipipeError, one_line
from hsipipe.formats.band_facts import with_good_bands
from hsipipe.formats.base import DIMS
from hsipipe.formats.overlap import Overlap, check_overlap, resolve_overlap
from hsipipe.formats.products.base import Masks, Product, check_masks
from hsipipe.formats.recognise import recognise, recognise_url
from hsipipe.formats.sinks import check_sinks, writer
from hsipipe.storage.publish import atomic_file, atomic_folder
from hsipipe.storage.urls import Url, place_of


def open_cube(
    path: str | os.PathLike[str] | Url,
    *,
    variable: str | None = None,
    bands: int | None = None,
    overlap: Overlap = "keep",
    masks: Masks = "all",
) -> xr.DataArray:
    """Open a hyperspectral cube.

    Args:
        path: A file, or a folder that is a cube (``x.zarr``, ``balloons_ms`` of the CAVE data, ``band_1.png`` to
            ``band_102.png``). Name an ENVI cube by its header or by its data file. A GeoTIFF or a Zarr store may be at
            an address that begins with http, https or s3; other formats are refused there. Files next to it, as masks
            and headers, are not read.
        variable: Name of the array in a file that holds several.
        bands: Number of bands, if known; it identifies the band axis where the file does not name its axes.
        overlap: Bands where two detectors measured the same wavelengths (``detector`` is a coordinate of band):
            ``keep`` all by wavelength, those of ``swir`` or ``vnir``, or the ``average``;
            :func:`~hsipipe.formats.overlap.resolve_overlap`.
        masks: Pixels of a sensor product that become NaN: ``fill``, no data alone; ``defects``, also values that the
            product calls wrong; ``all``, also clouds and their shadows. Other files have no such masks.

    A sensor product of :data:`~hsipipe.formats.products.PRODUCTS` is found by its layout; its scale, offset and masks
    are applied, and ``cube.encoding["applied"]`` says so.

    A .npy is (band, y, x). MATLAB, HDF5 and Zarr need not name their axes: `bands`, wavelengths, a stored number of
    bands or a mask in the same file identify the band axis. Without them it is guessed from sizes and values.

    Returns:
        float32 with dims (band, y, x), lazy (Dask) where the format allows. ``wavelength_nm`` is a coordinate of band
        where the file stores wavelengths; y, x and ``spatial_ref`` follow rioxarray where it stores the position.
        ``fwhm_nm``, ``detector`` and ``good_band`` are further coordinates of band where the file states them. Values
        are as stored, with four exceptions: sensor products; PNGs are scaled from their bit depth to [0, 1]; a scale
        and an offset defined in NetCDF, HDF5, Zarr or GeoTIFF are applied; pixels marked as no data are NaN.

    Raises:
        MissingInputError: `path` does not exist, or its server cannot be reached.
        FileFormatError: The format is unknown, or the file is truncated or corrupt.
        ParamsError: `overlap` or `masks` has an unknown value.
    """
    place = place_of(path) if isinstance(path, str) else path if isinstance(path, Url) else Path(path)
    check_overlap(overlap)
    check_masks(masks)
    if isinstance(place, Url):
        from hsipipe.storage.ranges import forget  # slow to import

        forget()  # the file of this moment is opened
    form = recognise_url(place) if isinstance(place, Url) else recognise(place)
    if variable is not None and not form.has_variables:
        raise FileFormatError(f"{place}: {form.title} holds one cube and has no variables, got {variable!r}; omit it")
    try:
        if isinstance(place, Url):
            cube = form.open_url(place, variable=variable, bands=bands)
        elif isinstance(form, Product):
            cube = form.read(place, variable=variable, masks=masks)
        else:
            cube = form.open(place, variable=variable, bands=bands)
        encoding = {**cube.encoding, "format": form.title}
        cube = with_good_bands(cube)
        cube.encoding = encoding
        return resolve_overlap(cube, overlap)
    except FileFormatError as error:
        raise FileFormatError(f"{place}: {one_line(error)}") from error
    except HsipipeError:
        raise
    except Exception as error:  # parsers of damaged files raise errors of any type
        raise FileFormatError(
            f"{place} cannot be read as {form.title}, the file is damaged or incomplete: {one_line(error)}"
        ) from error


def save_cube(cube: xr.DataArray, path: str | os.PathLike[str]) -> None:
    """Write a cube (band, y, x) to .npy, .nc, .tif, .zarr, .bil, .bip or .bsq; the file appears complete or not at all.

    A lazy cube is computed while it is written. Folder, name, type and free disk are checked before.

    Raises:
        FileFormatError: No format writes the suffix, or the format cannot hold the cube.
        DataError: `cube` is not a DataArray, has other dims or no real numbers, or the disk is too small.
        MissingInputError: The folder does not exist.
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
    bands, height, width = (cube.sizes[dim] for dim in DIMS)
    check_sinks([path], (bands, height, width), cube.dtype)
    with atomic_folder(path) if form.is_folder else atomic_file(path, beside=form.beside) as temporary:
        form.save(cube.transpose(*DIMS), temporary)
