"""Tell spectral bands from alpha bands, masks and quality layers by their names."""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from hsipipe.formats.band_texts import from_texts

logger = logging.getLogger(__name__)

_OPACITY = re.compile(r"alpha(?:[ _-]?(?:band|channel))?|opacity|(?:(?:valid|data|dataset)[ _-]?)?mask|valid(?:ity)?")
"""Names of bands that are 0 where there is no data."""
_LAYER = re.compile(r"\w*mask|(?:qa|bqa|scl|udm2?|cloud|clouds|shadow|snow|quality|flags?|no[ _-]?data)(?:[ _-]\w+)*")
"""Names of bands that hold neither a spectrum nor the opacity."""


@dataclass(frozen=True)
class Roles:
    """Bands of an image, counted from 1, by their role.

    Attributes:
        spectral: Bands of the cube.
        opacity: Bands that are 0 where there is no data.
    """

    spectral: tuple[int, ...]
    opacity: tuple[int, ...] = ()


def roles_by_names(names: Sequence[str | None], *, alpha: Collection[int] = ()) -> Roles:
    """Judge bands by their names; a layer that is skipped is told.

    Args:
        names: Name of each band, or None.
        alpha: Bands, counted from 1, that the file declares as alpha.
    """
    spectral, opacity = [], []
    for band, name in enumerate(names, start=1):
        plain = (name or "").strip().lower()
        if band in alpha or _OPACITY.fullmatch(plain):
            opacity.append(band)
        elif _LAYER.fullmatch(plain) and from_texts([plain]) is None:
            logger.warning("band %d, %r, is not a spectral band and is skipped", band, name)
        else:
            spectral.append(band)
    if not spectral:  # a mask that is opened by itself
        return Roles(tuple(range(1, len(names) + 1)))
    return Roles(tuple(spectral), tuple(opacity))


def keep_spectral(cube: xr.DataArray, roles: Roles) -> xr.DataArray:
    """Return the spectral bands of a cube that holds all bands; NaN where an opacity is 0."""
    chosen = np.array(roles.spectral) - 1
    spectral = cube.isel(band=chosen) if len(chosen) < cube.sizes["band"] else cube
    if not roles.opacity:
        return spectral
    stored: Any = cube.isel(band=np.array(roles.opacity) - 1)
    return spectral.where((stored != 0).all("band"))
