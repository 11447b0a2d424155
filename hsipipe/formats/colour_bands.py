"""Choose the bands that programs for maps show as red, green and blue when they open a file."""

import numpy as np
import xarray as xr

from hsipipe.formats.band_facts import GOOD_BAND

RGB = ("red", "green", "blue")
CENTRES_NM = (640.0, 550.0, 460.0)
"""Centres of the red, green and blue bands of usual multispectral sensors."""
_REACH_NM = 50.0


def colour_bands(cube: xr.DataArray) -> tuple[int, int, int] | None:
    """Return the bands for red, green and blue, counted from 0: the good ones nearest to 640, 550 and 460 nm.

    Args:
        cube: Cube (band, y, x).

    Returns:
        None without wavelengths, or where a band is further than 50 nm, or two are the same.
    """
    if "wavelength_nm" not in cube.coords:
        return None
    distance = np.abs(cube["wavelength_nm"].to_numpy()[:, None] - np.array(CENTRES_NM))
    if GOOD_BAND in cube.coords:
        distance[~cube[GOOD_BAND].to_numpy().astype(bool)] = np.inf
    distance[~np.isfinite(distance)] = np.inf
    red, green, blue = (int(band) for band in distance.argmin(axis=0))
    if distance[[red, green, blue], range(3)].max() > _REACH_NM or len({red, green, blue}) < 3:
        return None
    return red, green, blue
