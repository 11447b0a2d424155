"""Pixels without data: fill them for the model, and make them no data again in its result."""

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask, filled, nearest_data
from hsipipe.bands import band_label
from hsipipe.errors import DataError

__all__ = ["Mask", "check_holes", "fill_holes", "joined", "nearest_data", "open_holes"]


def fill_holes(image: NDArray[np.float32], name: object) -> tuple[NDArray[np.float32], Mask | None]:
    """Give each pixel without data the spectrum of the nearest one that has data.

    A pixel that lacks a single band has no data: its spectrum cannot be used.

    Args:
        image: (C, h, w), NaN for no data.
        name: Source of the image in messages.

    Returns:
        The filled image, and the pixels (h, w) without data; None: there are none.

    Raises:
        DataError: A whole band, or the whole image, has no data.
    """
    missing = np.isnan(image)
    if not missing.any():
        return image, None
    holes: Mask = np.asarray(missing.any(axis=0))
    check_holes(holes, np.asarray(missing.all(axis=(1, 2))), name)
    return filled(image, ~holes), holes


def check_holes(holes: Mask, dead: Mask, name: object) -> None:
    """Check that some pixel has data in every band.

    Args:
        holes: Pixels (h, w) that lack data in a band.
        dead: Bands (C,) without data.
        name: Source of the image in messages.

    Raises:
        DataError: A whole band, or the whole image, has no data.
    """
    if not holes.all():
        return
    if dead.any() and not dead.all():
        raise DataError(
            f"{name} has no data in {band_label(int(np.flatnonzero(dead)[0]))}, expected values in every band; drop "
            "the band, and take a model without it."
        )
    raise DataError(f"{name} has no pixel with data in every band, expected some; is its fill value right?")


def open_holes(image: NDArray[np.float32], holes: Mask | None) -> NDArray[np.float32]:
    """Set the pixels (H, W) of a result (C, H, W) to NaN that have no data."""
    if holes is None:
        return image
    opened: NDArray[np.float32] = np.where(holes, np.float32(np.nan), image)
    return opened


def joined(lr: Mask | None, msi: Mask | None, *, scale: int) -> Mask | None:
    """Return the pixels (H, W) that have no data in an LR-HSI (h, w) or an HR-MSI (H, W); None: there are none."""
    fine = None if lr is None else lr.repeat(scale, axis=0).repeat(scale, axis=1)
    if fine is None or msi is None:
        return msi if fine is None else fine
    both: Mask = fine | msi
    return both
