"""Open the pages of a TIFF through GDAL: the spectral bands of each, NaN where there is no data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_roles import Roles
from hsipipe.formats.lazy import Box, Source, open_lazily
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.tiff_roles import roles_of

DRIVER = "GTiff"
_MOST_BLOCK_BYTES = 2 << 30
"""Largest tile or compressed strip in bytes; a block is always decoded whole."""


@dataclass(frozen=True)
class _RasterSource(Source):
    name: str
    masked: bool

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box; pixels that the file marks as no data are NaN."""
        bands, rows, columns = box
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with open_raster(self.name, driver=DRIVER) as raster:
            indexes = list(range(bands.start + 1, bands.stop + 1))
            values = raster.read(indexes, window=window, masked=self.masked)
        return values.astype(self.dtype).filled(np.nan) if self.masked else np.asarray(values)


@dataclass(frozen=True)
class Page:
    """One image of a file: its GDAL name, shape (band, y, x) with all bands, and the roles of the bands."""

    name: str
    shape: tuple[int, int, int]
    roles: Roles


def list_pages(path: Path) -> list[Page]:
    """List the pages of a file in their order.

    Raises:
        FileFormatError: One claims huge blocks.
    """
    # An absolute path cannot be mistaken for one of GDAL's virtual files.
    with open_raster(str(path.absolute()), driver=DRIVER) as raster:
        # GDAL sorts pages by name, page 10 before page 2.
        names = sorted(raster.subdatasets, key=_page_number) or [raster.name]
        if names == [raster.name]:
            return [_page(raster)]
    pages = []
    for name in names:
        with open_raster(name, driver=DRIVER) as raster:
            pages.append(_page(raster))
    return pages


def _page(raster: Any) -> Page:
    kind, block = np.dtype(raster.dtypes[0]), raster.block_shapes[0]
    # GDAL reads an image in one strip row by row.
    if block != (raster.height, raster.width) and math.prod(block) * kind.itemsize > _MOST_BLOCK_BYTES:
        size = math.prod(block) * kind.itemsize
        raise FileFormatError(
            f"it claims blocks of {size} bytes, expected at most {_MOST_BLOCK_BYTES}; write smaller blocks"
        )
    return Page(raster.name, (raster.count, raster.height, raster.width), roles_of(raster))


def _page_number(name: str) -> int:
    return int(name.split(":", 2)[1])  # GTIFF_DIR:10:/path


def group_pages(pages: Sequence[Page]) -> dict[str, list[Page]]:
    """Group pages into named cubes: single bands of equal size form one cube, any other page is a cube by itself."""
    groups: dict[str, list[Page]] = {}
    single: dict[tuple[int, int, int], list[int]] = {}
    for number, page in enumerate(pages, start=1):
        if len(page.roles.spectral) == 1:
            single.setdefault(page.shape, []).append(number)
        else:
            groups[f"page_{number}"] = [page]
    for numbers in single.values():
        name = f"page_{numbers[0]}" if len(numbers) == 1 else f"pages_{numbers[0]}_to_{numbers[-1]}"
        groups[name] = [pages[number - 1] for number in numbers]
    return groups


def open_page(path: Path, page: Page) -> tuple[da.Array, list[str | None]]:
    """Open the spectral bands of a page lazily, NaN where there is no data, and list their names."""
    with open_raster(page.name, driver=DRIVER) as raster:
        kind = np.dtype(raster.dtypes[0])
        if kind.kind not in "iuf":
            raise FileFormatError(f"a cube holds real numbers, got {kind}; store its magnitude or real part")
        # rasterio warns that the mask of one would hide the other.
        both = ColorInterp.alpha in raster.colorinterp and any(value is not None for value in raster.nodatavals)
        masked = not both and any(_is_masked(flags) for flags in raster.mask_flag_enums)
        block = raster.block_shapes[0]
        stored = (1 if raster.interleaving and raster.interleaving.name == "band" else page.shape[0], *block)
        scales, offsets, texts = raster.scales, raster.offsets, list(raster.descriptions)
        no_data = np.array([np.nan if value is None else value for value in raster.nodatavals])
    in_blocks = block[0] < page.shape[1] or block[1] < page.shape[2]
    chunk = tuple(min(a, b) for a, b in zip(stored, page.shape, strict=True)) if in_blocks else None
    floating = np.dtype(np.float32 if kind.itemsize <= 2 or kind.kind == "f" else np.float64)
    raw = open_lazily(_RasterSource(path, page.shape, kind, page.name, False), stored=chunk)
    chosen = [band - 1 for band in page.roles.spectral]
    values = open_lazily(_RasterSource(path, page.shape, floating, page.name, True), stored=chunk) if masked else raw
    values = values[chosen] if len(chosen) < page.shape[0] else values
    if both:
        marks = (no_data.astype(kind) if kind.kind == "f" else no_data)[chosen, None, None]
        values = da.where(values != marks, values.astype(floating), floating.type(np.nan))
    if any(scale != 1 for scale in scales) or any(offset != 0 for offset in offsets):
        values = values * np.array(scales)[chosen, None, None] + np.array(offsets)[chosen, None, None]
    if page.roles.opacity:
        valid = (raw[[band - 1 for band in page.roles.opacity]] != 0).all(axis=0)
        values = da.where(valid, values.astype(floating), floating.type(np.nan))
    return values, [texts[index] for index in chosen]


def _is_masked(flags: list[MaskFlags]) -> bool:
    """Return True if GDAL's mask marks pixels. Alpha bands are read by :mod:`~hsipipe.formats.tiff_roles`."""
    return flags != [MaskFlags.all_valid] and MaskFlags.alpha not in flags
