"""Folder with one image per band: PNGs, scaled from their bit depth to [0, 1], or TIFFs with values as stored.

The number that differs between the file names is that of the band, or its wavelength in names such as ``x_450nm.png``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from hsipipe.errors import FileFormatError, one_line
from hsipipe.formats.band_names import named_wavelengths, order_bands, without_layers
from hsipipe.formats.base import PACKING, CubeFormat, make_cube, remember, with_wavelengths
from hsipipe.formats.cave_png import FULL_SCALE, check_png, read_band
from hsipipe.formats.lazy import Box, Source, open_lazily

SUFFIXES = (".png", ".tif", ".tiff")
_GREY = ("L", "LA", "I;16", "I;16B", "F", "I")


@dataclass(frozen=True)
class _ImagesSource(Source):
    files: tuple[Path, ...]

    def read(self, box: Box) -> NDArray[Any]:
        """Read the bands of the box."""
        bands, rows, columns = box
        return np.stack([read_band(file)[rows, columns] for file in self.files[bands]])


def find_images(folder: Path) -> list[Path]:
    """List the images of a folder in the order of their bands; empty if it is not a folder of bands.

    Raises:
        FileFormatError: A band is missing or duplicated, or the names are not those of one cube.
    """
    named = without_layers([path for path in sorted(folder.iterdir()) if _is_numbered_image(path)])
    if len(named) < 2 or not _is_grey(named[0]):
        return []
    return [band.path for band in order_bands(named)]


def _read_pngs(files: list[Path]) -> xr.DataArray:
    first = ("", (0, 0))
    for file in files:
        found = check_png(file)
        if found[0] not in _GREY or found[0] not in FULL_SCALE:
            raise FileFormatError(f"{file.name} is a PNG of mode {found[0]}, expected grey of 8 or 16 bit")
        if file != files[0] and found != first:
            raise FileFormatError(
                f"{file.name} has {found[1]} pixels of mode {found[0]}, the first band {first[1]} of {first[0]}"
            )
        first = found
    source = _ImagesSource(files[0].parent, (len(files), *first[1]), np.dtype(np.float32), tuple(files))
    cube = make_cube(open_lazily(source, stored=(1, *first[1])))
    top = FULL_SCALE[first[0]]
    return remember(cube, dtype=np.uint8 if top == 255 else np.uint16, packing=(1 / top, 0.0))


def _read_tiffs(files: list[Path]) -> xr.DataArray:
    from hsipipe.formats import geotiff

    cubes: list[xr.DataArray] = []
    for file in files:
        try:
            cubes.append(geotiff.FORMAT.open(file))
        except Exception as error:
            raise FileFormatError(f"{file.name} cannot be read: {one_line(error)}") from error
        first, last = cubes[0], cubes[-1]
        if last.shape != (1, *first.shape[1:]) or not _place(last).equals(_place(first)):
            raise FileFormatError(
                f"{file.name} has {last.shape[0]} bands of {last.shape[1:]} pixels, expected one at the position "
                f"of {files[0].name}, with {first.shape[1:]} pixels"
            )
    stack = da.concatenate([cube.data for cube in cubes])
    cube = xr.DataArray(stack, dims=cubes[0].dims, attrs=cubes[0].attrs, coords=_place(cubes[0]).coords)
    if all("wavelength_nm" in single.coords for single in cubes):
        cube = with_wavelengths(cube, np.concatenate([single["wavelength_nm"].values for single in cubes]))
    each = {single.encoding[PACKING] for single in cubes}
    packing = each.pop() if len(each) == 1 else None
    return remember(cube, dtype=cubes[0].encoding["stored_dtype"], packing=packing)


def _place(cube: xr.DataArray) -> xr.Dataset:
    """Return the coordinates of the pixels."""
    return cube.coords.to_dataset().drop_dims("band", errors="ignore")


def _is_numbered_image(path: Path) -> bool:
    is_image = path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    return is_image and any(character.isdecimal() for character in path.stem)


def _is_grey(path: Path) -> bool:
    """Return True if an image is one band; a folder may also hold several cubes as x_1.tif, x_2.tif."""
    try:
        with Image.open(path, formats=["PNG", "TIFF"]) as image:
            return image.mode in _GREY and getattr(image, "n_frames", 1) == 1
    except Exception:  # not an image, or a TIFF of many bands, which Pillow does not support
        return path.suffix.lower() == ".png"


class BandImages(CubeFormat):
    """Folder with one grey image per band."""

    title = "a folder of band images"
    is_folder = True
    has_variables = False

    def recognises(self, path: Path) -> bool:
        """Return True for a folder of numbered grey images.

        Raises:
            FileFormatError: As :func:`find_images`.
        """
        return path.is_dir() and bool(find_images(path))

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Open a folder of bands lazily."""
        files = find_images(path)
        cube = _read_tiffs(files) if files[0].suffix.lower() != ".png" else _read_pngs(files)
        nm = named_wavelengths(files)
        return cube if nm is None else with_wavelengths(cube, nm)


FORMAT = BandImages()
