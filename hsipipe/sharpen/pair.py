"""Read the HR-MSI of a scene to sharpen, and the PSF that relates the two images."""

from math import exp, pi

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hsipipe.degradation.estimate import estimate_psf
from hsipipe.degradation.psf import Psf
from hsipipe.formats import open_cube
from hsipipe.inference.holes import Mask
from hsipipe.inference.msi_grid import pixel_ratio
from hsipipe.inference.pair import MsiFile, pair_notes, read_msi, register
from hsipipe.inference.wording import COMMAND
from hsipipe.methods.sfim import Sfim
from hsipipe.sharpen.reduced import Image
from hsipipe.sharpen.scene import Scene

_LIKELY_MTF = (0.02, 0.7)
"""Modulation transfer at the Nyquist frequency that an estimated PSF of a registered pair has."""


def ratio_of(cube: xr.DataArray, msi: MsiFile) -> int:
    """Return the ratio of the pixel sizes of a pair, rounded; 2 at least."""
    rows, _ = pixel_ratio(cube, open_cube(msi.path, variable=msi.variable))
    return max(2, round(rows - 1e-6))


def read_pair(
    msi: MsiFile, scene: Scene, *, scale: int, psf: Psf, registered: bool = False
) -> tuple[Image, Mask, list[str]]:
    """Read the HR-MSI in the window of a scene.

    Args:
        msi: Its file.
        scene: The LR-HSI.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        registered: Measure and remove a field of shifts between the two images.

    Returns:
        HR-MSI (c, s h, s w), its pixels with data, and warnings about the pair.

    Raises:
        HsipipeError: The file cannot be read, or does not match the LR-HSI.
    """
    whole = np.broadcast_to(np.float32(0), scene.cube.shape)
    values, holes, centres = read_msi(
        msi, scene.cube, whole, model=Sfim(scale, psf), wording=COMMAND, admit=lambda _cube, _ratio: None
    )
    place = scene.window.slices(scale=scale)
    fine = np.ascontiguousarray(values[place])
    valid = np.ones(fine.shape[1:], dtype=bool) if holes is None else ~holes[place[1:]]
    if registered:
        fine, moved, _ = register(scene.values, fine, None if valid.all() else ~valid, scale=scale, psf=psf)
        valid = np.ones_like(valid) if moved is None else ~moved
    warnings = pair_notes(scene.values, fine, scale=scale, psf=psf, response=None, msi_wavelength_nm=centres)
    return fine, valid, warnings


def psf_of_pair(values: Image, msi: NDArray[np.float32], *, scale: int, fallback: Psf) -> tuple[Psf, str]:
    """Estimate the PSF of the LR-HSI from a pair; an unlikely one is replaced. Return it with a note."""
    found = estimate_psf(values, msi, scale=scale)
    mtf = exp(-0.5 * (pi * float(found.width(scale) or 0) / scale) ** 2)
    if _LIKELY_MTF[0] <= mtf <= _LIKELY_MTF[1]:
        return found, f"estimated from the pair, the PSF is {found.describe(scale)}."
    return fallback, (
        f"the PSF estimated from the pair has an unlikely MTF of {mtf:.2g}, so {fallback.describe(scale)} is taken; do "
        "both images show the same ground?"
    )
