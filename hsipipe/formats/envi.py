"""ENVI: a text header, ``x.hdr`` or ``x.dat.hdr``, next to a file of uncompressed numbers. Read lazily.

Reflectance scale factors, gains and offsets of the header are not applied: values are as stored.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.errors import RasterioIOError

from hsipipe.errors import FileFormatError, one_line
from hsipipe.formats.band_roles import Roles, keep_spectral, roles_by_names
from hsipipe.formats.base import CubeFormat, Shape, make_cube, remember
from hsipipe.formats.envi_bands import ignored_values, select_bands, with_bands
from hsipipe.formats.envi_files import has_data, header_of, pair
from hsipipe.formats.envi_header import Header, is_header, numbers, read_header, words
from hsipipe.formats.envi_layout import Layout, format_inside, layout_of
from hsipipe.formats.envi_writer import (
    ATTRIBUTES,
    HEADER,
    POSITION,
    header_of_cube,
    interleave_of,
    read_attributes,
    stored_type,
)
from hsipipe.formats.georeference import attach
from hsipipe.formats.lazy import MappedSource, open_lazily, strips
from hsipipe.formats.tiff_tags import with_tags
from hsipipe.storage.space import create_file

logger = logging.getLogger(__name__)

_GEO_POINTS_CRS = "EPSG:4326"
"""Of `geo points`, which are latitudes and longitudes without a datum."""


def _values(header: Header, layout: Layout, data: Path, roles: Roles) -> xr.DataArray:
    _check_size(layout, data)
    values: Any = open_lazily(MappedSource(data, layout.shape, layout.dtype, layout.offset, layout.strides))
    cube = keep_spectral(make_cube(values), roles)
    ignored = ignored_values(header, layout.shape[0])
    if ignored is None:
        return cube
    # Compare as stored: float32 does not represent every integer, and no type of 4 bytes represents -0.01.
    if layout.dtype.kind == "f":
        with np.errstate(over="ignore"):
            ignored = ignored.astype(layout.dtype)
    stored = xr.DataArray(values != ignored[:, None, None], dims=cube.dims)
    return cube.where(keep_spectral(stored, Roles(roles.spectral)))


def _roles(header: Header, count: int) -> Roles:
    names = words(header, "band names")
    return roles_by_names(names if len(names) == count else [None] * count)


def _check_size(layout: Layout, data: Path) -> None:
    got, expected = data.stat().st_size, layout.nbytes
    if got == expected:
        return
    with data.open("rb") as stream:
        inside = format_inside(stream.read(8))
    if inside and not layout.offset:
        raise FileFormatError(
            f"{data.name} is a {inside} file, expected raw numbers; open it under a name of its format"
        )
    bands, rows, columns = layout.shape
    described = f"{rows} lines, {columns} samples, {bands} bands of {layout.dtype.itemsize} bytes after {layout.offset}"
    if got < expected:
        raise FileFormatError(
            f"{data.name} has {got} bytes, expected {expected} by its header ({described}); the file is incomplete, "
            "copy it again"
        )
    logger.warning("%s has %d bytes, %d by its header (%s); is it the right header?", data, got, expected, described)


def _with_position(cube: xr.DataArray, header: Header, data: Path) -> xr.DataArray:
    from hsipipe.formats.rasters import open_raster

    try:
        with open_raster(str(data.absolute()), driver="ENVI") as raster:
            if not raster.transform.is_identity:
                return attach(cube, crs=raster.crs, transform=raster.transform)
            points = raster.gcps[0] if numbers(header, "geo points") is not None else []
            return attach(cube, crs=raster.crs or (_GEO_POINTS_CRS if points else None), gcps=points)
    except RasterioIOError as error:  # GDAL is stricter with headers, for example with a byte order mark
        logger.warning("%s: the position is skipped, GDAL cannot read it: %s", data, one_line(error))
        return cube


def _with_attributes(cube: xr.DataArray, text: str) -> xr.DataArray:
    try:
        return with_tags(cube, read_attributes(text))
    except (ValueError, TypeError, RecursionError) as error:
        logger.warning("the header's field %r is ignored: %s", ATTRIBUTES, one_line(error))
        return cube


class Envi(CubeFormat):
    """Text header with a data file next to it."""

    title = "ENVI"
    suffixes = (".hdr",)
    saved_as = (".bil", ".bip", ".bsq")
    has_variables = False
    beside = (HEADER,)
    writes_regions = True

    def recognises(self, path: Path) -> bool:
        """Return True for a header, and for a file of any name with a header next to it.

        Raises:
            FileFormatError: The file is named as a header and is not one.
        """
        if not path.is_file():
            return False
        if path.suffix.lower() != ".hdr":
            return header_of(path) is not None
        if not is_header(path):
            raise FileFormatError("not an ENVI header, it does not begin with ENVI")
        return True

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube lazily, by the name of its header or of its data file."""
        header_path, data = pair(path)
        header = read_header(header_path)
        layout = layout_of(header)
        roles = _roles(header, layout.shape[0])
        cube = with_bands(_values(header, layout, data, roles), select_bands(header, roles.spectral))
        if any(field in header for field in POSITION):
            cube = _with_position(cube, header, data)
        if ATTRIBUTES in header:
            cube = _with_attributes(cube, header[ATTRIBUTES])
        return remember(cube, dtype=layout.dtype)

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write the values strip by strip, in the interleave of the suffix, and the header."""
        bands, height, width = cube.shape
        self.create(cube, path, chunk=(bands, height, width), shard=(bands, height, width))
        for rows, strip in strips(cube):
            self.regions(path)[:, rows] = strip

    def create(self, cube: xr.DataArray, path: Path, *, chunk: Shape, shard: Shape) -> None:
        """Write the header, and a file of zeros."""
        bands, height, width = cube.shape
        layout = Layout((bands, height, width), stored_type(cube.dtype), 0, interleave_of(path))
        path.with_name(path.name + HEADER).write_text(header_of_cube(cube, layout), "utf-8")
        create_file(path, layout.nbytes)

    def regions(self, path: Path) -> Any:
        """Map the values."""
        layout = layout_of(read_header(path.with_name(path.name + HEADER)))
        raw = np.memmap(path, dtype=np.uint8, mode="r+")
        return np.ndarray(layout.shape, layout.dtype, raw, layout.offset, layout.strides)

    def files(self, path: Path) -> list[Path]:
        """List the header and the data file."""
        return sorted(pair(path))

    def is_main(self, path: Path) -> bool:
        """Return True for a header with a data file."""
        return path.suffix.lower() == ".hdr" and has_data(path)


FORMAT = Envi()
