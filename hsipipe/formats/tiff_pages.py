"""Open the pages of a TIFF through GDAL: the spectral bands of each, NaN where there is no data."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_roles import Roles
from hsipipe.formats.claims import check_claim
from hsipipe.formats.lazy import Box, Source, open_lazily
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.tiff_directories import Directory
from hsipipe.formats.tiff_roles import roles_of
from hsipipe.storage.places import size_of
from hsipipe.storage.urls import Place, Url

DRIVER = "GTiff"
_MOST_BLOCK_BYTES = 2 << 30
"""Largest tile or compressed strip in bytes; a block is always decoded whole."""

_MOST_KINDS = 200
"""Most images of one band whose tags differ; GDAL opens each before it is read."""
_MOST_JOINED_BYTES = 1 << 20
"""Largest page that is read whole."""


@dataclass(frozen=True)
class _RasterSource(Source):
    """The bands of a page, or several pages of one band each."""

    names: tuple[str | Url, ...]
    masked: bool

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box; pixels that the file marks as no data are NaN."""
        bands, rows, columns = box
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        if len(self.names) == 1:
            return self._read(self.names[0], list(range(bands.start + 1, bands.stop + 1)), window)
        values = np.empty([part.stop - part.start for part in box], self.dtype)
        for place, name in enumerate(self.names[bands]):
            values[place] = self._read(name, 1, window)
        return values

    def _read(self, name: str | Url, indexes: list[int] | int, window: Window) -> NDArray[Any]:
        with open_raster(name, driver=DRIVER) as raster:
            values = raster.read(indexes, window=window, masked=self.masked)
        return values.astype(self.dtype).filled(np.nan) if self.masked else np.asarray(values)


@dataclass(frozen=True)
class Page:
    """One image of a file, as GDAL describes it when it is opened.

    Attributes:
        name: GDAL's name, or the address of a remote file.
        shape: Shape (band, y, x) with all bands.
        roles: Roles of the bands.
        kind: Type of its numbers.
        stored: Shape (band, y, x) of a block.
        is_masked: GDAL's mask marks pixels.
        no_data: Nodata value of each band, NaN for a band without one; None if GDAL's mask contains them.
        scales: Scale of each band.
        offsets: Offset of each band.
        texts: Description of each band.
    """

    name: str | Url
    shape: tuple[int, int, int]
    roles: Roles
    kind: np.dtype[Any]
    stored: tuple[int, int, int]
    is_masked: bool
    no_data: tuple[float, ...] | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    texts: tuple[str | None, ...]

    @property
    def can_join(self) -> bool:
        """True for a small page of one band, which is read whole."""
        return self.shape[0] == 1 and math.prod(self.shape) * self.kind.itemsize <= _MOST_JOINED_BYTES


def list_pages(path: Place, directories: Sequence[Directory]) -> list[Page]:
    """List the pages of a file in their order; of pages of one band whose tags are equal GDAL opens the first.

    Args:
        path: File.
        directories: All directories in the file. GDAL opens a page by its place at once; by its number it walks over
            all pages before.

    Raises:
        FileFormatError: One claims huge blocks, or a remote file has several.
    """
    if isinstance(path, Url):
        return [_only_page(path)]
    # An absolute path cannot be mistaken for one of GDAL's virtual files.
    with open_raster(str(path.absolute()), driver=DRIVER) as raster:
        # GDAL sorts pages by name, page 10 before page 2.
        names = sorted(raster.subdatasets, key=_page_number) or [raster.name]
        if names == [raster.name]:
            return [_page(raster, path, raster.name)]
    pages, known = [], dict[Any, Page]()
    for directory in (directories[_page_number(name) - 1] for name in names):
        name = f"GTIFF_DIR:off:{directory.place}:{path.absolute()}"
        if (alike := known.get(directory.tags)) is not None:
            pages.append(replace(alike, name=name))
            continue
        with open_raster(name, driver=DRIVER) as raster:
            pages.append(_page(raster, path, raster.name))
        if pages[-1].shape[0] == 1:
            known[directory.tags] = pages[-1]
        if len(known) > _MOST_KINDS:
            raise FileFormatError(
                f"it holds more than {_MOST_KINDS} images whose tags differ; write the bands as samples of one image"
            )
    return pages


def _only_page(url: Url) -> Page:
    with open_raster(url, driver=DRIVER) as raster:
        if len(raster.subdatasets) > 1:
            raise FileFormatError(
                f"it holds {len(raster.subdatasets)} images, one of which is read over the network; download it"
            )
        return _page(raster, url, url)


def _page(raster: Any, path: Place, name: str | Url) -> Page:
    kind, block = np.dtype(raster.dtypes[0]), raster.block_shapes[0]
    # GDAL reads an image in one strip row by row.
    rows = 1 if block == (raster.height, raster.width) else block[0]
    size = rows * block[1] * kind.itemsize * (1 if _is_by_band(raster) else raster.count)
    if size > _MOST_BLOCK_BYTES:
        raise FileFormatError(
            f"it claims blocks of {size} bytes, expected at most {_MOST_BLOCK_BYTES}; write smaller blocks"
        )
    check_claim("a block", size, held=size_of(path))
    # rasterio warns that the mask of an alpha band would hide that of the values without data.
    both = ColorInterp.alpha in raster.colorinterp and any(value is not None for value in raster.nodatavals)
    return Page(
        name=name,
        shape=(raster.count, raster.height, raster.width),
        roles=roles_of(raster),
        kind=kind,
        stored=(1 if _is_by_band(raster) else raster.count, *block),
        is_masked=not both and any(_is_masked(flags) for flags in raster.mask_flag_enums),
        no_data=tuple(math.nan if value is None else value for value in raster.nodatavals) if both else None,
        scales=raster.scales,
        offsets=raster.offsets,
        texts=raster.descriptions,
    )


def _is_by_band(raster: Any) -> bool:
    """Return True if a block holds one band."""
    return bool(raster.interleaving and raster.interleaving.name == "band")


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


def open_pages(path: Place, pages: Sequence[Page]) -> tuple[da.Array, list[str | None]]:
    """Open the spectral bands of pages lazily, NaN where there is no data, and list their names."""
    arrays, texts = [], list[str | None]()
    # Pages that differ by their names alone form one array: Dask takes milliseconds for each.
    for _, alike in itertools.groupby(pages, key=lambda page: (page.can_join, replace(page, name=""))):
        joined = list(alike)
        for group in [joined] if joined[0].can_join else [[page] for page in joined]:
            array, names = _open(path, group)
            arrays.append(array)
            texts += names
    return da.concatenate(arrays), texts


def _open(path: Place, pages: Sequence[Page]) -> tuple[da.Array, list[str | None]]:
    page = pages[0]
    kind, shape, names = page.kind, (len(pages) * page.shape[0], *page.shape[1:]), tuple(p.name for p in pages)
    if kind.kind not in "iuf":
        raise FileFormatError(f"a cube holds real numbers, got {kind}; store its magnitude or real part")
    in_blocks = page.stored[1] < page.shape[1] or page.stored[2] < page.shape[2]
    chunk = tuple(min(a, b) for a, b in zip(page.stored, page.shape, strict=True)) if in_blocks else None
    chunk = page.shape if len(pages) > 1 else chunk
    floating = np.dtype(np.float32 if kind.itemsize <= 2 or kind.kind == "f" else np.float64)
    chosen = [band - 1 for band in page.roles.spectral]
    stored_as, masked = (floating, True) if page.is_masked else (kind, False)
    values = open_lazily(_RasterSource(path, shape, stored_as, names, masked), stored=chunk)
    values = values[chosen] if len(chosen) < page.shape[0] else values  # of one page
    if page.no_data is not None:
        marks = np.array(page.no_data)
        marks = (marks.astype(kind) if kind.kind == "f" else marks)[chosen, None, None]
        values = da.where(values != marks, values.astype(floating), floating.type(np.nan))
    if any(scale != 1 for scale in page.scales) or any(offset != 0 for offset in page.offsets):
        values = values * np.array(page.scales)[chosen, None, None] + np.array(page.offsets)[chosen, None, None]
    if page.roles.opacity:
        raw = open_lazily(_RasterSource(path, shape, kind, names, False), stored=chunk)
        valid = (raw[[band - 1 for band in page.roles.opacity]] != 0).all(axis=0)
        values = da.where(valid, values.astype(floating), floating.type(np.nan))
    return values, [page.texts[index] for index in chosen] * len(pages)


def _is_masked(flags: list[MaskFlags]) -> bool:
    """Return True if GDAL's mask marks pixels. Alpha bands are read by :mod:`~hsipipe.formats.tiff_roles`."""
    return flags != [MaskFlags.all_valid] and MaskFlags.alpha not in flags
