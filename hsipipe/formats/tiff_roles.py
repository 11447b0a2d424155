"""Tell the spectral bands of a TIFF from its alpha bands, masks and quality layers."""

import logging
import math
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from hsipipe.formats.band_roles import Roles, roles_by_names

logger = logging.getLogger(__name__)

_MOST_BLOCK_BYTES = 64 << 20
"""Largest block that is decoded for the sample."""
_ROWS, _COLUMNS = 16, 4096
"""Sample that shows if a band is an alpha band."""


def roles_of(raster: Any) -> Roles:
    """Judge the bands of an open raster by their colour interpretation and their names."""
    alpha = [
        band
        for band, (colour, name) in enumerate(zip(raster.colorinterp, raster.descriptions, strict=True), start=1)
        if colour == ColorInterp.alpha and not name and _is_alpha(raster, band)
    ]
    return roles_by_names(raster.descriptions, alpha=alpha)


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
