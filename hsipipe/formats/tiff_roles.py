"""Tell the spectral bands of a TIFF from alpha bands, masks and quality layers."""

import logging
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from hsipipe.formats.band_texts import from_texts

logger = logging.getLogger(__name__)

_OPACITY = re.compile(r"alpha(?:[ _-]?(?:band|channel))?|opacity|(?:(?:valid|data|dataset)[ _-]?)?mask|valid(?:ity)?")
"""Names of bands that are 0 where there is no data."""
_LAYER = re.compile(r"\w*mask|(?:qa|bqa|scl|udm2?|cloud|clouds|shadow|snow|quality|flags?|no[ _-]?data)(?:[ _-]\w+)*")
"""Names of bands that hold neither a spectrum nor the opacity."""
_MOST_BLOCK_BYTES = 64 << 20
"""Largest block that is decoded for the sample."""
_ROWS, _COLUMNS = 16, 4096
"""Sample that shows if a band is an alpha band."""


@dataclass(frozen=True)
class Roles:
    """Bands of an image, counted from 1, by their role.

    Attributes:
        spectral: Bands of the cube.
        opacity: Bands that are 0 where there is no data.
    """

    spectral: tuple[int, ...]
    opacity: tuple[int, ...] = ()


def roles_of(raster: Any) -> Roles:
    """Judge the bands of an open raster by their colour interpretation and their names."""
    spectral, opacity = [], []
    for band, (colour, text) in enumerate(zip(raster.colorinterp, raster.descriptions, strict=True), start=1):
        name = (text or "").strip().lower()
        if _OPACITY.fullmatch(name) or (colour == ColorInterp.alpha and not name and _is_alpha(raster, band)):
            opacity.append(band)
        elif _LAYER.fullmatch(name) and from_texts([name]) is None:
            logger.warning("band %d, %r, is not a spectral band and is skipped", band, text)
        else:
            spectral.append(band)
    if not spectral:  # a mask that is opened by itself
        return Roles(tuple(range(1, raster.count + 1)))
    return Roles(tuple(spectral), tuple(opacity))


def _is_alpha(raster: Any, band: int) -> bool:
    """Return True unless most values are between transparent and opaque, as in a spectral band.

    GDAL declares the fourth band of every 8-bit image as alpha unless its writer says otherwise.
    """
    if "wavelength" in {key.lower() for key in raster.tags(band)}:
        return False
    if math.prod(raster.block_shapes[band - 1]) * np.dtype(raster.dtypes[band - 1]).itemsize > _MOST_BLOCK_BYTES:
        return True
    rows = np.unique(np.linspace(0, raster.height - 1, _ROWS).astype(int))
    width = min(raster.width, _COLUMNS)
    sample = np.concatenate([raster.read(band, window=Window(0, int(row), width, 1)) for row in rows])
    between = (sample > 0) & (sample < sample.max())
    if between.mean() > 0.5 and np.unique(sample).size > _ROWS:
        logger.warning("band %d is marked as alpha, but its values vary as those of a spectral band; it is read", band)
        return False
    return True
