"""GeoTIFF and plain TIFF through rasterio and rioxarray, read lazily.

Bands are samples of one image, or pages of equal size as tifffile writes a stack. Pixels without data are NaN; the
scale and offset of GDAL are applied.
"""

import logging
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import xarray as xr

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_texts import from_texts
from hsipipe.formats.base import (
    CubeFormat,
    make_cube,
    one_packing,
    pick_variable,
    remember,
    with_wavelengths,
    with_widths,
)
from hsipipe.formats.georeference import attach
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.side_files import MASK, PAM
from hsipipe.formats.tiff_bands import facts_of_bands, facts_of_file
from hsipipe.formats.tiff_directories import check_whole
from hsipipe.formats.tiff_pages import DRIVER, Page, group_pages, list_pages, open_pages
from hsipipe.formats.tiff_sidecars import sidecars, with_side_facts
from hsipipe.formats.tiff_stacks import inspect_stack
from hsipipe.formats.tiff_tags import with_band_tags, with_tags
from hsipipe.formats.tiff_writer import tiff_bytes, write_tiff
from hsipipe.storage.urls import Place, Url

_SCALES, _OFFSETS = attrgetter("scales"), attrgetter("offsets")
logger = logging.getLogger(__name__)


def _check_others(shapes: Mapping[str, tuple[int, ...]], chosen: str) -> None:
    """Check that no other image of the file may hold further bands of the chosen one.

    Raises:
        FileFormatError: One has as many rows and columns.
    """
    listed = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
    if sum(shape[1:] == shapes[chosen][1:] for shape in shapes.values()) > 1:
        raise FileFormatError(f"its images may belong to one cube ({listed}); name one with variable=...")
    if len(shapes) > 1:
        logger.warning("of its images (%s) the largest is read, %s; name another with variable=...", listed, chosen)


def _with_tags(
    cube: xr.DataArray, pages: Sequence[Page], texts: Sequence[str | None], path: Place
) -> tuple[xr.DataArray, str]:
    """Attach position, wavelengths and attributes; return also the type of the numbers in the file."""
    with open_raster(pages[0].name, driver=DRIVER) as raster:
        kind, transform, tags = raster.dtypes[0], raster.transform, raster.tags()
        (points, points_crs), rpcs = raster.gcps, raster.rpcs
        crs, bands = raster.crs or points_crs, pages[0].roles.spectral
        band_tags = [raster.tags(band) | raster.tags(band, ns="IMAGERY") for band in bands]
        nm, widths = facts_of_bands(raster, bands) if len(bands) == len(cube) else (None, None)
        may_mask = all(value is None for value in raster.nodatavals) and set(raster.scales) == {1.0}
        may_mask = may_mask and set(raster.offsets) == {0.0}
    if nm is None:
        nm, widths = facts_of_file(tags, range(1, len(cube) + 1))
    if nm is None and len(texts) == len(cube):
        nm = from_texts(texts)
    cube = attach(cube, crs=crs, transform=None if transform.is_identity else transform, gcps=points, rpcs=rpcs)
    cube = with_band_tags(with_tags(cube, tags), texts, band_tags)
    if nm is not None:
        cube = with_wavelengths(cube, nm)
    if widths is not None:
        cube = with_widths(cube, widths)
    return cube if isinstance(path, Url) else with_side_facts(cube, path, dtype=kind, may_mask=may_mask), kind


def _open(path: Place, variable: str | None) -> xr.DataArray:
    """Open the cube of a file lazily."""
    directories = check_whole(path)
    stack = inspect_stack(path)
    groups = group_pages(list_pages(path, directories))
    shapes = {name: (sum(len(p.roles.spectral) for p in pages), *pages[0].shape[1:]) for name, pages in groups.items()}
    if stack.values is not None:
        groups, shapes = {"stack": next(iter(groups.values()))}, {"stack": stack.values.shape}
    chosen = pick_variable(shapes, variable)
    if variable is None:
        _check_others(shapes, chosen)
    pages = groups[chosen]
    values, names = open_pages(path, pages) if stack.values is None else (stack.values, [])
    cube, texts = make_cube(values), [*stack.labels] or names
    cube, kind = _with_tags(cube, pages, texts, path)
    scales, offsets = ([n for page in pages for n in numbers(page)] for numbers in (_SCALES, _OFFSETS))
    name = chosen if len(groups) > 1 else None
    return remember(cube, dtype=kind, variable=name, variables=shapes, packing=one_packing(scales, offsets))


class GeoTiff(CubeFormat):
    """TIFF with or without a position."""

    title = "GeoTIFF"
    suffixes = (".tif", ".tiff")
    saved_as = (".tif", ".tiff")
    reads_urls = True

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a file lazily."""
        return _open(path, variable)

    def open_url(self, url: Url, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a remote file lazily; its tiles or strips are read by ranges of bytes."""
        return _open(url, variable)

    def limits(self) -> tuple[int | None, int | None]:
        """Return the largest numbers that the tag of the bands, and the rows and columns of GDAL, can hold."""
        return 65_535, 2**31 - 1

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write the cube as a cloud-optimized GeoTIFF of float32, see :mod:`hsipipe.formats.tiff_writer`."""
        write_tiff(cube, path)

    def sizes(self, nbytes: int) -> list[int]:
        """Return the sizes of the image and of the one that it is written from, both with overviews."""
        return [tiff_bytes(nbytes)] * 2

    def files(self, path: Path) -> list[Path]:
        """List the file and the files next to it that GDAL reads as part of it."""
        near = [path.with_name(path.name + suffix) for suffix in (PAM, MASK)] + [path.with_suffix(".tfw")]
        return sorted([path, *filter(Path.is_file, near), *sidecars(path)])


FORMAT = GeoTiff()
