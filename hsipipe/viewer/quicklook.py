"""One PNG of a cube: colours by wavelength, stretched between percentiles."""

import math
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.errors import DataError, FileFormatError, MissingInputError
from hsipipe.formats import open_cube
from hsipipe.storage.publish import atomic_file
from hsipipe.viewer.colours import bands_of, limits, to_image, ways


def quicklook(source: Path, target: Path, *, size: int = 1024, variable: str | None = None) -> str:
    """Write a picture of a cube; return the colours and bands that it shows.

    Bands that the file calls bad, and bands without data, are not used. Pixels without data are grey.

    Args:
        source: A cube.
        target: The PNG.
        size: Largest side of the picture in pixels; a larger cube is reduced.
        variable: Array to read, if the file contains several.

    Raises:
        FileFormatError: `target` is no PNG by its name, or `source` cannot be read.
        MissingInputError: `source` or the folder of `target` does not exist.
        DataError: No band has a value.
    """
    if target.suffix.lower() != ".png":
        raise FileFormatError(f"{target}: quicklook writes a PNG, got the suffix {target.suffix!r}; name it .png")
    if not target.absolute().parent.is_dir():
        raise MissingInputError(f"No folder {target.absolute().parent}; make it, or name another place.")
    cube = open_cube(source, variable=variable)
    step = max(1, math.ceil(max(cube.shape[1:]) / (2 * size)))
    thin = cube[:, ::step, ::step]
    nm = np.asarray(cube["wavelength_nm"].to_numpy(), np.float64) if "wavelength_nm" in cube.coords else None
    bad = {int(band) - 1 for band in np.atleast_1d(cube.attrs.get("bad_bands", [])).astype(int)}
    while True:
        if len(bad) >= len(cube):
            raise DataError(f"{source} has no band with values, expected at least one.")
        way = ways(len(cube), nm, sorted(bad))[0]
        bands = bands_of(way, len(cube), nm, sorted(bad))
        planes = _read(thin, bands)
        empty = {band for band, plane in zip(bands, planes, strict=True) if not np.isfinite(plane).any()}
        if not empty:
            break
        bad |= empty
    from PIL import Image  # slow to import

    picture = Image.fromarray(to_image(planes, limits(planes)))
    if max(picture.size) > size:
        picture.thumbnail((size, size))
    with atomic_file(target) as temporary:
        picture.save(temporary, format="PNG")
    numbers = ", ".join(str(band + 1) if nm is None else f"{band + 1} ({nm[band]:g} nm)" for band in bands)
    return f"{way.title}: bands {numbers}"


def _read(cube: xr.DataArray, bands: list[int]) -> NDArray[np.float32]:
    return np.stack([np.asarray(cube[band].to_numpy(), np.float32) for band in bands])
