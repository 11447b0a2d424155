"""GeoTIFF and plain TIFF through rasterio and rioxarray, read lazily.

Bands are samples of one image, or pages of equal size as tifffile writes a stack. Pixels without data are NaN; the
scale and offset of GDAL are applied.
"""

import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from hsipipe.errors import FileFormatError
from hsipipe.formats.band_texts import from_texts
from hsipipe.formats.base import CubeFormat, make_cube, pick_variable, remember, with_wavelengths
from hsipipe.formats.georeference import attach, crs_of, transform_of
from hsipipe.formats.lazy import Box, Source, open_lazily
from hsipipe.formats.rasters import open_raster
from hsipipe.formats.wavelengths import centres
from hsipipe.storage.stores import rows_per_chunk

_DRIVER = "GTiff"
_MOST_BLOCK_BYTES = 2 << 30
"""Largest tile or compressed strip in bytes; a block is always decoded whole."""
_MOST_PAGES = 10_000
"""Largest number of pages; each is opened to read its shape."""
# Attributes of a cube that are stored as tags, and the parser of each.
_KEPT: dict[str, Callable[[str], Any]] = {
    "units": str,
    "long_name": str,
    "gsd_m": float,
    "reflectance_scale_factor": float,
    "bad_bands": json.loads,
}
_NAMES = ("wavelength_nm", "wavelength", "wavelengths", "center_wavelength", "central_wavelength", "centre_wavelength")


@dataclass(frozen=True)
class _RasterSource(Source):
    name: str
    masked: bool

    def read(self, box: Box) -> NDArray[Any]:
        """Read the box; pixels that the file marks as no data are NaN."""
        bands, rows, columns = box
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with open_raster(self.name, driver=_DRIVER) as raster:
            indexes = list(range(bands.start + 1, bands.stop + 1))
            values = raster.read(indexes, window=window, masked=self.masked)
        return values.astype(self.dtype).filled(np.nan) if self.masked else np.asarray(values)


@dataclass(frozen=True)
class _Page:
    """One image of a file: its GDAL name and shape (band, y, x)."""

    name: str
    shape: tuple[int, int, int]


def check_whole(path: Path) -> None:
    """Check that the file contains all directories and data that it refers to.

    Raises:
        FileFormatError: The file is shorter.
    """
    size = path.stat().st_size
    with tifffile.TiffFile(path) as file:
        end = _end_of_directories(file, size)
        if end <= size:
            for page in file.pages:
                ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))
                end = max(end, *ends)
    if end > size:
        raise FileFormatError(
            f"it has {size} bytes, expected {end} by its directory; the file is incomplete, copy it again"
        )


def _end_of_directories(file: tifffile.TiffFile, size: int) -> int:
    """Return the end of the chain of directories in bytes, as far as it can be followed; tifffile skips broken ones."""
    form, stream = file.tiff, file.filehandle
    end, offset, seen = 0, file.pages.first.offset, set[int]()
    while offset and offset not in seen:
        seen.add(offset)
        if len(seen) > _MOST_PAGES:
            raise FileFormatError(f"it holds more than {_MOST_PAGES} images; write the bands as samples of one image")
        end = max(end, offset + form.tagnosize)
        if end > size:
            break
        stream.seek(offset)
        (count,) = struct.unpack(form.tagnoformat, stream.read(form.tagnosize))
        following = offset + form.tagnosize + count * form.tagsize
        end = max(end, following + form.offsetsize)
        if end > size:
            break
        stream.seek(following)
        (offset,) = struct.unpack(form.offsetformat, stream.read(form.offsetsize))
    return end


def _pages(path: Path) -> list[_Page]:
    # An absolute path cannot be mistaken for one of GDAL's virtual files.
    with open_raster(str(path.absolute()), driver=_DRIVER) as raster:
        # GDAL sorts pages by name, page 10 before page 2.
        names = sorted(raster.subdatasets, key=_page_number) or [raster.name]
        if names == [raster.name]:
            return [_Page(raster.name, (raster.count, raster.height, raster.width))]
    pages = []
    for name in names:
        with open_raster(name, driver=_DRIVER) as raster:
            pages.append(_Page(name, (raster.count, raster.height, raster.width)))
    return pages


def _page_number(name: str) -> int:
    return int(name.split(":", 2)[1])  # GTIFF_DIR:10:/path


def _groups(pages: Sequence[_Page]) -> dict[str, list[_Page]]:
    """Group pages into named cubes: single bands of equal size form one cube, any other page is a cube by itself."""
    groups: dict[str, list[_Page]] = {}
    single: dict[tuple[int, int, int], list[int]] = {}
    for number, page in enumerate(pages, start=1):
        if page.shape[0] == 1:
            single.setdefault(page.shape, []).append(number)
        else:
            groups[f"page_{number}"] = [page]
    for numbers in single.values():
        name = f"page_{numbers[0]}" if len(numbers) == 1 else f"pages_{numbers[0]}_to_{numbers[-1]}"
        groups[name] = [pages[number - 1] for number in numbers]
    return groups


def _open_page(path: Path, page: _Page) -> tuple[da.Array, list[str | None]]:
    with open_raster(page.name, driver=_DRIVER) as raster:
        kind = np.dtype(raster.dtypes[0])
        if kind.kind not in "iuf":
            raise FileFormatError(f"a cube holds real numbers, got {kind}; store its magnitude or real part")
        masked = any(flags != [MaskFlags.all_valid] for flags in raster.mask_flag_enums)
        block = raster.block_shapes[0]
        # GDAL reads an image in one strip row by row.
        if block != (raster.height, raster.width) and np.prod(block) * kind.itemsize > _MOST_BLOCK_BYTES:
            size = np.prod(block) * kind.itemsize
            raise FileFormatError(
                f"it claims blocks of {size} bytes, expected at most {_MOST_BLOCK_BYTES}; write smaller blocks"
            )
        stored = (1 if raster.interleaving and raster.interleaving.name == "band" else page.shape[0], *block)
        scales, offsets, texts = raster.scales, raster.offsets, list(raster.descriptions)
    if masked:
        kind = np.dtype(np.float32 if kind.itemsize <= 2 or kind.kind == "f" else np.float64)
    stored = tuple(min(a, b) for a, b in zip(stored, page.shape, strict=True))
    source = _RasterSource(path, page.shape, kind, page.name, masked)
    values = open_lazily(source, stored=stored if block[0] < page.shape[1] or block[1] < page.shape[2] else None)
    if any(scale != 1 for scale in scales) or any(offset != 0 for offset in offsets):
        values = values * np.array(scales)[:, None, None] + np.array(offsets)[:, None, None]
    return values, texts


def _wavelengths(raster: Any, count: int) -> NDArray[np.float64] | None:
    found = []
    for band in range(1, count + 1):
        tags = {key.lower(): value for key, value in raster.tags(band).items()}
        units = tags.get("wavelength_units", tags.get("wavelength_unit"))
        value = next((tags[name] for name in _NAMES if name in tags), None)
        if value is None:
            value, units = raster.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM"), "um"
        number = _as_number(value)
        if number is None:
            return from_texts(list(raster.descriptions))
        found.append((number, units))
    # The unit, or the magnitude without one, is judged over all bands together.
    return centres([number for number, _ in found], found[0][1])


def _of_file(tags: dict[str, str], count: int) -> NDArray[np.float64] | None:
    lower = {key.lower(): value for key, value in tags.items()}
    for name in _NAMES:
        words = re.split(r"[,;\s]+", lower.get(name, "").strip("{}[]() "))
        numbers = [_as_number(word) for word in words]
        if len(numbers) == count and None not in numbers:
            return centres(numbers, lower.get("wavelength_units"))
    bands = [lower.get(f"band_{band}") for band in range(1, count + 1)]
    return from_texts(bands)


def _as_number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _tag(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)


class GeoTiff(CubeFormat):
    """TIFF with or without a position."""

    title = "GeoTIFF"
    suffixes = (".tif", ".tiff")
    saved_as = (".tif", ".tiff")

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open the cube of a file lazily."""
        check_whole(path)
        groups = _groups(_pages(path))
        shapes = {name: (sum(page.shape[0] for page in pages), *pages[0].shape[1:]) for name, pages in groups.items()}
        chosen = pick_variable(shapes, variable)
        pages = groups[chosen]
        arrays = [_open_page(path, page) for page in pages]
        cube = make_cube(da.concatenate([array for array, _ in arrays]))
        with open_raster(pages[0].name, driver=_DRIVER) as raster:
            kind = raster.dtypes[0]
            crs, transform, tags = raster.crs, raster.transform, raster.tags()
            nm = _wavelengths(raster, len(cube)) if len(pages) == 1 else None
        if nm is None:
            nm = _of_file(tags, len(cube))
        if nm is None and len(pages) > 1:
            nm = from_texts([description for _, texts in arrays for description in texts])
        cube = attach(cube, crs=crs, transform=None if transform.is_identity else transform)
        cube.attrs.update({key: parse(tags[key]) for key, parse in _KEPT.items() if key in tags})
        cube = cube if nm is None else with_wavelengths(cube, nm)
        return remember(cube, dtype=kind, variable=chosen if len(groups) > 1 else None, variables=shapes)

    def save(self, cube: xr.DataArray, path: Path) -> None:
        """Write the cube as float32, strip by strip, with CRS, transform, and the wavelengths as tags of the bands."""
        bands, height, width = cube.shape
        transform = transform_of(cube)
        profile: dict[str, Any] = {
            "count": bands, "height": height, "width": width, "dtype": "float32", "crs": crs_of(cube),
            "nodata": float("nan"), "compress": "deflate", "predictor": 3, "interleave": "band", "bigtiff": "if_safer",
        }  # fmt: skip
        if transform is not None:
            profile["transform"] = transform
        step = max(cube.chunks[1]) if cube.chunks is not None else rows_per_chunk(cube.shape)
        with open_raster(str(path.absolute()), driver=_DRIVER, **profile) as raster:
            raster.update_tags(**{key: _tag(cube.attrs[key]) for key in _KEPT if key in cube.attrs})
            if "wavelength_nm" in cube.coords:
                for band, nm in enumerate(cube["wavelength_nm"].values, start=1):
                    raster.set_band_description(band, f"{nm:g} nm")
                    raster.update_tags(band, wavelength=repr(float(nm)), wavelength_units="nm")
            for start in range(0, height, step):
                strip = np.ascontiguousarray(cube[:, start : start + step].values, dtype=np.float32)
                raster.write(strip, window=Window(0, start, width, strip.shape[1]))

    def files(self, path: Path) -> list[Path]:
        """List the file and the files next to it that GDAL reads as part of it."""
        sidecars = [path.with_name(path.name + suffix) for suffix in (".aux.xml", ".msk")] + [path.with_suffix(".tfw")]
        return sorted([path, *filter(Path.is_file, sidecars)])


FORMAT = GeoTiff()
