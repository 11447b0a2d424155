"""CAVE scene: a folder of 31 PNGs, ``<scene>_ms_01.png`` at 400 nm to ``_31.png`` at 700 nm.

The bands are 16-bit grey, except those of `watercolors`: 8-bit RGBA with the band repeated in each colour channel.
Some published code wrongly reads all scenes as 8 bit.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hsipipe.errors import DataError, FileFormatError
from hsipipe.formats.base import CubeFormat, make_cube, remember
from hsipipe.formats.claims import check_claim

BANDS = 31
WAVELENGTH_NM = tuple(float(nm) for nm in range(400, 701, 10))

_BANDS = "[!.]*_ms_[0-9][0-9].png"
_NAME = re.compile(r"(?P<scene>.+)_ms_(?P<band>\d{2})\.png")
FULL_SCALE = {"I;16": 65535, "I;16B": 65535, "L": 255, "LA": 255, "RGB": 255, "RGBA": 255}
"""Value of a PNG that maps to 1.0, by Pillow's mode."""
_WHILE_READ = 8
"""Bytes of a pixel while a band is decoded and scaled."""


def find_bands(folder: Path) -> dict[int, Path]:
    """List the PNGs of a scene by band number, counted from 1.

    They lie in `folder`, or in its only subfolder ``<scene>_ms`` with bands, as in the published archive.

    Raises:
        DataError: A band is missing, or the folder holds bands of two scenes.
    """
    matches = _bands_in(folder) or [found for inner in folder.glob("[!.]*_ms") for found in _bands_in(inner)]
    scenes = sorted({(path.parent, match["scene"]) for match, path in matches})
    if len(scenes) > 1:
        names = ", ".join(scene for _, scene in scenes)
        raise DataError(f"{folder} holds the bands of several scenes ({names}); give the folder of one scene.")
    scene = scenes[0][1] if scenes else folder.name.removesuffix("_ms")
    bands = {int(match["band"]): path for match, path in matches}
    missing = [str(band) for band in range(1, BANDS + 1) if band not in bands]
    if missing or len(bands) != BANDS:
        raise DataError(
            f"Scene {scene!r}: {len(bands)} bands in {folder}, expected {scene}_ms_01.png to _{BANDS}.png "
            f"(counted from 1); missing: {', '.join(missing) or 'none, too many files'}. "
            "Copy the scene again from the published archive."
        )
    return bands


def _bands_in(folder: Path) -> list[tuple[re.Match[str], Path]]:
    return [(m, p) for p in sorted(folder.glob(_BANDS)) if (m := _NAME.fullmatch(p.name))]


def read_band(path: Path) -> NDArray[np.float32]:
    """Read one band, (H, W) in [0, 1]; pixels that the alpha channel hides are NaN.

    Raises:
        FileFormatError: The PNG is truncated, corrupt or of an unexpected mode; the message names it.
    """
    _, size = check_png(path)
    check_claim(path.name, math.prod(size) * _WHILE_READ, held=path.stat().st_size)
    with _damage(path), Image.open(path, formats=["PNG"]) as image:
        mode, pixels = image.mode, np.asarray(image)
    if mode not in FULL_SCALE:
        raise FileFormatError(f"{path.name} is a PNG of mode {mode}, expected 16-bit grey or 8-bit grey or RGBA")
    grey = pixels if pixels.ndim == 2 else pixels[..., 0]
    values = grey.astype(np.float32)
    values /= np.float32(FULL_SCALE[mode])
    if mode in ("LA", "RGBA"):
        values[pixels[..., -1] == 0] = np.nan
    return values


def check_png(path: Path) -> tuple[str, tuple[int, int]]:
    """Check that a PNG is complete without decoding it; return Pillow's mode and (H, W).

    Raises:
        FileFormatError: The PNG is truncated or corrupt; the message names it.
    """
    with _damage(path), Image.open(path, formats=["PNG"]) as image:
        image.verify()  # checks the CRC of every chunk and the end of the file; load() alone does not
        return image.mode, (image.height, image.width)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, EOFError, struct.error, ...
        # Pillow's message would repeat the whole path.
        reason = "no PNG header" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise FileFormatError(
            f"{path.name} cannot be read as PNG, the file is truncated or corrupt: {reason}"
        ) from error


class Cave(CubeFormat):
    """Folder of a CAVE scene, or a folder around it as in the published archive."""

    title = "a CAVE scene (PNG bands)"
    is_folder = True
    has_variables = False

    def recognises(self, path: Path) -> bool:
        """Return True for a folder with bands, or with a subfolder ``<scene>_ms`` of bands."""
        return any(any(path.glob(pattern)) for pattern in (_BANDS, f"*_ms/{_BANDS}"))

    def open(self, path: Path, *, variable: str | None = None, bands: int | None = None) -> xr.DataArray:
        """Read the bands of a scene; values in [0, 1]."""
        files = find_bands(path)
        _, size = check_png(files[1])
        check_claim("the scene", 4 * BANDS * math.prod(size), held=sum(file.stat().st_size for file in files.values()))
        first = read_band(files[1])
        values = np.empty((BANDS, *first.shape), dtype=np.float32)
        for number, file in files.items():
            band = first if number == 1 else read_band(file)
            if band.shape != first.shape:
                raise FileFormatError(f"{file.name} has {band.shape} pixels, the first band {first.shape}")
            values[number - 1] = band
        top = FULL_SCALE[check_png(files[1])[0]]
        stored = np.uint8 if top == 255 else np.uint16
        return remember(make_cube(values, wavelength_nm=WAVELENGTH_NM), dtype=stored, packing=(1 / top, 0.0))


FORMAT = Cave()
