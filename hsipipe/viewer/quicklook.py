"""One PNG of a cube, or of an LR cube beside its prediction: colours by wavelength, stretched between percentiles."""

import io
import math
from pathlib import Path
from typing import IO

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.formats import open_cube
from hsipipe.storage.publish import atomic_file
from hsipipe.storage.urls import Place
from hsipipe.viewer.colours import Colours, bands_of, limits, to_image, ways

_BETWEEN = 8
"""White pixels between two pictures."""


def quicklook(source: Place, target: Path, *, size: int = 1024, variable: str | None = None) -> str:
    """Write a picture of a cube; return the colours and bands that it shows.

    Bands that the file calls bad, and bands without data, are not used. Pixels without data are grey.

    Args:
        source: A cube, or the address of one.
        target: The PNG.
        size: Largest side of the picture in pixels; a larger cube is reduced.
        variable: Array to read, if the file contains several.

    Raises:
        FileFormatError: `target` is no PNG by its name, or `source` cannot be read.
        MissingInputError: `source` or the folder of `target` does not exist.
        DataError: No band has a value.
    """
    _check_target(target)
    cube = open_cube(source, variable=variable)
    way, bands, planes = _display(_thinned(cube, size), source)
    _save(to_image(planes, limits(way, planes)), target, size=size)
    return f"{way.title}: bands {_numbers(bands, _centres(cube))}"


def side_by_side(lr: xr.DataArray, sr: xr.DataArray, target: Path, *, scale: int, size: int = 1024) -> str:
    """Write a picture of an LR cube, its pixels enlarged, beside its prediction; return colours and bands.

    Both have the colours and the stretch of the LR cube. Of a large scene the middle is shown, so that single pixels
    are visible.

    Args:
        lr: LR cube (band, y, x).
        sr: Prediction (band, s y, s x).
        target: The PNG.
        scale: Ratio of the pixel sizes s.
        size: Largest side of each half in pixels.

    Raises:
        FileFormatError: `target` is no PNG by its name.
        MissingInputError: The folder of `target` does not exist.
        DataError: No band has a value.
    """
    _check_target(target)
    rows, columns = (_middle(n, max(1, size // scale)) for n in lr.shape[1:])
    way, bands, planes = _display(lr[:, rows, columns], "the LR cube")
    stretch = limits(way, planes)
    fine = _read(sr[:, _times(rows, scale), _times(columns, scale)], bands)
    halves = [to_image(planes.repeat(scale, axis=1).repeat(scale, axis=2), stretch), to_image(fine, stretch)]
    times = max(1, size // (2 * max(fine.shape[1:])))
    halves = [half.repeat(times, axis=0).repeat(times, axis=1) for half in halves]
    between = np.full((len(halves[0]), _BETWEEN, 3), 255, np.uint8)
    _save(np.concatenate([halves[0], between, halves[1]], axis=1), target, size=2 * size + _BETWEEN)
    return f"{way.title}: bands {_numbers(bands, _centres(lr))}"


def pair_pictures(lr: xr.DataArray, sr: xr.DataArray, *, size: int = 1024) -> tuple[str, list[bytes]]:
    """Picture a whole LR cube and its prediction; return colours and bands, and the two PNGs.

    Both have the colours and the stretch of the LR cube.

    Args:
        lr: LR cube (band, y, x).
        sr: Prediction (band, s y, s x).
        size: Largest side of a picture in pixels.

    Raises:
        DataError: No band has a value.
    """
    way, bands, planes = _display(_thinned(lr, size), "the LR cube")
    stretch = limits(way, planes)
    images = [to_image(values, stretch) for values in (planes, _read(_thinned(sr, size), bands))]
    targets = [io.BytesIO() for _ in images]
    for image, target in zip(images, targets, strict=True):
        _write(image, target, size=size)
    return f"{way.title}: bands {_numbers(bands, _centres(lr))}", [target.getvalue() for target in targets]


def _check_target(target: Path) -> None:
    if target.suffix.lower() != ".png":
        raise FileFormatError(f"{target}: quicklook writes a PNG, got the suffix {target.suffix!r}; name it .png")
    if not target.absolute().parent.is_dir():
        raise MissingInputError(f"No folder {target.absolute().parent}; make it, or name another place.")


def _display(cube: xr.DataArray, source: object) -> tuple[Colours, list[int], NDArray[np.float32]]:
    """Choose colours and bands that have values; return them with the values of the bands (3, y, x)."""
    nm = _centres(cube)
    bad = {int(band) - 1 for band in np.atleast_1d(cube.attrs.get("bad_bands", [])).astype(int)}
    while True:
        if len(bad) >= len(cube):
            raise DataError(f"{source} has no band with values, expected at least one.")
        way = ways(len(cube), nm, sorted(bad))[0]
        bands = bands_of(way, len(cube), nm, sorted(bad))
        planes = _read(cube, bands)
        empty = {band for band, plane in zip(bands, planes, strict=True) if not np.isfinite(plane).any()}
        if not empty:
            return way, bands, planes
        bad |= empty


def _thinned(cube: xr.DataArray, size: int) -> xr.DataArray:
    """Skip pixels of a cube that is much larger than its picture."""
    step = max(1, math.ceil(max(cube.shape[1:]) / (2 * size)))
    return cube[:, ::step, ::step]


def _save(image: NDArray[np.uint8], target: Path, *, size: int) -> None:
    with atomic_file(target) as temporary:
        _write(image, temporary, size=size)


def _write(image: NDArray[np.uint8], target: Path | IO[bytes], *, size: int) -> None:
    from PIL import Image  # slow to import

    picture = Image.fromarray(image)
    if max(picture.size) > size:
        picture.thumbnail((size, size))
    picture.save(target, format="PNG")


def _centres(cube: xr.DataArray) -> NDArray[np.float64] | None:
    return np.asarray(cube["wavelength_nm"].to_numpy(), np.float64) if "wavelength_nm" in cube.coords else None


def _numbers(bands: list[int], nm: NDArray[np.float64] | None) -> str:
    return ", ".join(str(band + 1) if nm is None else f"{band + 1} ({nm[band]:g} nm)" for band in bands)


def _middle(n: int, most: int) -> slice:
    start = max(0, (n - most) // 2)
    return slice(start, min(n, start + most))


def _times(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


def _read(cube: xr.DataArray, bands: list[int]) -> NDArray[np.float32]:
    return np.stack([np.asarray(cube[band].to_numpy(), np.float32) for band in bands])
