"""Degrade images with pixels that have no data: fill them from their LR pixel first, and tell which LR pixels count."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import Mask, filled, has_data
from hsipipe.degradation.banded import BLOCK_ROWS, coarser_shape
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError

LEAST_WEIGHT = 0.5
"""Smallest share of the weights of the PSF on pixels with data with which an LR pixel has data."""


def downsample_valid(image: NDArray[Any], valid: Mask, scale: int, *, psf: Psf) -> tuple[NDArray[Any], Mask]:
    """Downsample an image whose pixels without data are filled by :func:`hsipipe.artifacts.no_data.filled`.

    The degradation stays linear and the same for all images: filled in the same way, the LR-HSI and the HR-MSI of a
    scene still show the same ground. A PSF that is normalised over the pixels with data would not keep that
    (docs/adr/0039-holes-of-a-pair.md). Where all pixels have data, the result is that of :meth:`Psf.downsample`.

    Args:
        image: (C, H, W); values without data are not used.
        valid: True for data, (H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.

    Returns:
        The LR image (C, h, w), complete, and its pixels with data (h, w), see :func:`has_weight`; the other ones show
        what fills the image there.

    Raises:
        DataError: The mask does not fit the image, or the scale does not divide height or width.
    """
    if valid.shape != image.shape[1:]:
        raise DataError(
            f"Got a mask of shape {valid.shape} for an image of {image.shape}, expected {image.shape[1:]}; give the "
            "mask of this image."
        )
    if valid.all():
        low = psf.downsample(image, scale)
        return low, np.ones(low.shape[1:], dtype=bool)
    seen = has_weight(valid, scale, psf=psf)
    whole = filled(image, valid, scale=scale) if valid.any() else np.zeros_like(image)
    return psf.downsample(whole, scale), seen


_WINDOW_BYTES = 32 << 20
"""Size of the rows that are degraded at once, unless :data:`BLOCK_ROWS` LR rows are larger."""


def downsampled(
    image: Any, scale: int, *, psf: Psf, valid: Mask | None = None
) -> Iterator[tuple[slice, NDArray[np.float64], Mask]]:
    """Downsample an image that is read by rows, in float64.

    Args:
        image: (C, H, W), an array or a file that is read by slices.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        valid: Pixels with data (H, W), as for :func:`downsample_valid`; None: all.

    Yields:
        Rows of the LR image, their values (C, rows, w), and which of their pixels have data (rows, w).

    Raises:
        DataError: The scale does not divide height or width.
    """
    height, width = coarser_shape(image.shape, scale)
    row_bytes = 4 * image.shape[0] * width * scale * scale
    step = max(1, _WINDOW_BYTES // (row_bytes * BLOCK_ROWS)) * BLOCK_ROWS
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        low = downsampled_rows(image, rows, scale, psf=psf, valid=valid)
        yield rows, low, has_data(low)


def downsampled_rows(
    image: Any, rows: slice, scale: int, *, psf: Psf, valid: Mask | None = None
) -> NDArray[np.float64]:
    """Compute some rows (C, rows, w) of :func:`downsampled`; they begin at a multiple of :data:`BLOCK_ROWS`."""
    height = image.shape[1]
    source = psf.operator(height, scale).window(rows)
    if valid is None:
        part = np.asarray(image[:, source], dtype=np.float64)
        return psf.downsample_rows(part, scale, height=height, outputs=rows)
    part = np.asarray(filled_rows(lambda rows: image[:, rows], valid, source, scale, psf=psf), dtype=np.float64)
    weight = psf.downsample_rows(valid[source].astype(np.float64), scale, height=height, outputs=rows)
    low = psf.downsample_rows(part, scale, height=height, outputs=rows)
    return np.where(_enough(weight), low, np.nan)


def filled_rows(
    read: Callable[[slice], NDArray[Any]], valid: Mask, rows: slice, scale: int, *, psf: Psf
) -> NDArray[Any]:
    """Read some rows (C, rows, W) of an image with their pixels without data filled.

    The values are those of the whole image wherever an LR pixel depends on them that has valid pixels in its reach.

    Args:
        read: Reads rows of the image.
        valid: Pixels of the image with data (H, W).
        rows: The rows.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
    """
    # Such an LR pixel has valid pixels within its reach; the pixels that it depends on have some within three times it.
    halo = 3 * (-(-psf.reach(scale) // scale) + 1) * scale
    start = max(0, rows.start - halo) // scale * scale
    stop = min(len(valid), -(-(rows.stop + halo) // scale) * scale)
    here, around = valid[start:stop], read(slice(start, stop))
    whole = filled(around, here, scale=scale) if here.any() else np.zeros_like(around)
    return np.ascontiguousarray(whole[:, rows.start - start : rows.stop - start])


def has_weight(valid: Mask, scale: int, *, psf: Psf) -> Mask:
    """Return the LR pixels (h, w) of which at least `LEAST_WEIGHT` of the PSF's weights lie on valid pixels.

    Args:
        valid: True for data, (H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
    """
    return _enough(psf.downsample(valid.astype(np.float64), scale))


def _enough(weight: NDArray[np.float64]) -> Mask:
    # Weights sum to one but for rounding.
    return np.asarray(weight > LEAST_WEIGHT - 1e-9)
