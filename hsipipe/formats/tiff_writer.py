"""Write a cube as a cloud-optimized GeoTIFF: tiles, overviews, and both listed at the start of the file.

The order of such a file is known only when the overviews are, so the cube is first written strip by strip into an
uncompressed TIFF next to it. GDAL copies that one tile by tile. Memory is bounded by a strip and by GDAL's cache.

Source: OGC 21-026, "OGC Cloud Optimized GeoTIFF Standard", version 1.0.
"""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from hsipipe.formats.colour_bands import RGB, colour_bands
from hsipipe.formats.georeference import crs_of, transform_of
from hsipipe.formats.lazy import strips
from hsipipe.formats.packing import packing_of
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.tiff_pages import DRIVER
from hsipipe.formats.tiff_tags import write_tags

_TILE = 256
"""Edge of a tile in pixels; an image of this size has no overview."""
_CACHE_BYTES = 64 << 20
_UNPACKED = ".raw"
"""Suffix of the TIFF that the image is copied from."""


def write_tiff(cube: xr.DataArray, path: Path) -> None:
    """Write a cube (band, y, x) as float32 with its position, and what it says about bands as tags.

    Pixels without data are NaN, which is declared as the value without data. A packed cube is written as its integers,
    with scale, offset and the integer without data. The bands near red, green and blue are marked as such. Each band
    has tiles of 256 x 256 pixels, compressed by DEFLATE, and overviews by the mean, each half as large as the one
    before, down to one tile.
    """
    unpacked = path.with_name(path.name + _UNPACKED)
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_TIFF_OVR_BLOCKSIZE=str(_TILE)):
            _write_strips(cube, unpacked)
            if factors := overview_factors(*cube.shape[1:]):
                with open_raster(str(unpacked.absolute()), driver=DRIVER, mode="r+") as raster:
                    raster.build_overviews(factors, Resampling.average)
            with open_raster(str(unpacked.absolute()), driver=DRIVER) as raster:
                _copy_tiles(raster, path)
    finally:
        unpacked.unlink(missing_ok=True)


def overview_factors(height: int, width: int) -> list[int]:
    """Return the factors by which overviews are smaller than an image.

    >>> overview_factors(1000, 600)
    [2, 4]
    """
    factor, factors = 2, []
    while max(height, width) * 2 > factor * _TILE:
        factors.append(factor)
        factor *= 2
    return factors


def tiff_bytes(nbytes: int) -> int:
    """Return the size of a TIFF of values of `nbytes`, with overviews: a quarter, a sixteenth and so on of it."""
    return nbytes + -(-nbytes // 3)


def _write_strips(cube: xr.DataArray, path: Path) -> None:
    bands, height, width = cube.shape
    transform, packing = transform_of(cube), packing_of(cube)
    kind, nodata = ("float32", float("nan")) if packing is None else (packing.dtype, packing.fill)
    profile: dict[str, Any] = {
        "count": bands, "height": height, "width": width, "dtype": kind, "crs": crs_of(cube),
        "nodata": nodata, "interleave": "band", "bigtiff": "if_safer", "photometric": "minisblack",
    }  # fmt: skip
    if transform is not None:
        profile["transform"] = transform
    with open_raster(str(path.absolute()), driver=DRIVER, **profile) as raster:
        write_tags(raster, cube)
        if packing is not None:
            raster.scales, raster.offsets = [packing.scale] * bands, [packing.offset] * bands
        if (chosen := colour_bands(cube)) is not None:
            names = dict(zip(chosen, RGB, strict=True))
            raster.colorinterp = [ColorInterp[names.get(band, "undefined")] for band in range(bands)]
        for rows, strip in strips(cube):
            values = np.ascontiguousarray(strip, dtype=kind)
            raster.write(values, window=Window(0, rows.start, width, values.shape[1]))


def _copy_tiles(raster: Any, path: Path) -> None:
    height, width = (min(_TILE, -(-n // 16) * 16) for n in raster.shape)
    predictor = 3 if raster.dtypes[0] == "float32" else 2
    rasterio.shutil.copy(
        raster, path, driver=DRIVER, copy_src_overviews=True, tiled=True, blockysize=height, blockxsize=width,
        interleave="band", compress="deflate", predictor=predictor, bigtiff="if_safer", num_threads="all_cpus",
    )  # fmt: skip
