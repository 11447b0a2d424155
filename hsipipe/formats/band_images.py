"""Folder with one image per band: PNGs, scaled from their bit depth to [0, 1], or TIFFs with values as stored.

The last number in a file name is the band number, or the wavelength in names such as ``x_450nm.png``.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from hsipipe.errors import FileFormatError
from hsipipe.formats.base import CubeFormat, make_cube, remember
from hsipipe.formats.cave_png import FULL_SCALE, check_png, read_band
from hsipipe.formats.lazy import Box, Source, open_lazily
from hsipipe.storage.stores import one_line

SUFFIXES = (".png", ".tif", ".tiff")
_NUMBER = re.compile(r"(?P<stem>.*?)(?P<number>\d+(?:[.]\d+)?)(?P<rest>[^\d]*)")
_GREY = ("L", "I;16", "I;16B", "F", "I")


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
    named = [(match, path) for path in sorted(folder.iterdir()) if (match := _band(path))]
    if len(named) < 2 or not _is_grey(named[0][1]):
        return []
    kinds = {(match["stem"], match["rest"], path.suffix.lower()) for match, path in named}
    if len(kinds) > 1:
        names = ", ".join(sorted(f"{stem}1{rest}{suffix}" for stem, rest, suffix in kinds)[:4])
        raise FileFormatError(
            f"it holds images with different names ({names}), expected the bands of one cube; use one folder per cube"
        )
    bands: dict[float, Path] = {}
    for match, path in named:
        number = float(match["number"])
        if number in bands:
            raise FileFormatError(f"{bands[number].name} and {path.name} are the same band; keep one of them")
        bands[number] = path
    if not _in_nm(named[0][0]):
        missing = sorted(set(range(int(min(bands)), int(max(bands)) + 1)) - {int(number) for number in bands})
        if missing:
            raise FileFormatError(f"the bands {', '.join(map(str, missing[:8]))} are missing; copy the folder again")
    return [bands[number] for number in sorted(bands)]


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
    return remember(cube, dtype=np.uint8 if FULL_SCALE[first[0]] == 255 else np.uint16)


def _read_tiffs(files: list[Path]) -> xr.DataArray:
    from hsipipe.formats import geotiff

    cubes = []
    for file in files:
        try:
            cubes.append(geotiff.FORMAT.open(file))
        except Exception as error:
            raise FileFormatError(f"{file.name} cannot be read: {one_line(error)}") from error
        first, last = cubes[0], cubes[-1]
        if last.shape != (1, *first.shape[1:]) or not last.coords.to_dataset().equals(first.coords.to_dataset()):
            raise FileFormatError(
                f"{file.name} has {last.shape[0]} bands of {last.shape[1:]} pixels, expected one at the position "
                f"of {files[0].name}, with {first.shape[1:]} pixels"
            )
    stack = da.concatenate([cube.data for cube in cubes])
    cube = xr.DataArray(stack, dims=cubes[0].dims, attrs=cubes[0].attrs, coords=cubes[0].coords)
    return remember(cube, dtype=cubes[0].encoding["stored_dtype"])


def _band(path: Path) -> re.Match[str] | None:
    is_image = path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    return _NUMBER.fullmatch(path.stem) if is_image else None


def _in_nm(match: re.Match[str]) -> bool:
    return match["rest"].lower().lstrip(" _-").startswith("nm")


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
        matches = [match for match in map(_band, files) if match]
        cube = _read_tiffs(files) if files[0].suffix.lower() != ".png" else _read_pngs(files)
        if _in_nm(matches[0]):
            nm = np.array([float(match["number"]) for match in matches])
            cube = cube.assign_coords(wavelength_nm=("band", nm, {"units": "nm", "long_name": "centre wavelength"}))
        return cube


FORMAT = BandImages()
