"""Sample pixels of a pair on the LR grid, in one pass over strips of bounded memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.banded import BLOCK_ROWS, apply_both
from hsipipe.degradation.psf import Psf
from hsipipe.methods.super_resolver import SceneImage
from hsipipe.storage.stores import rows_per_chunk

_STRIP_BYTES = 16 << 20


def sampled_pixels(
    lr: SceneImage, msi: SceneImage, *, scale: int, psf: Psf, most: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most `most` pixels of the LR-HSI (C, n) and of the degraded HR-MSI (c, n), evenly spread.

    The strips depend on the size of the scene alone, so that an array and a file of the same values give the same bits.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        most: Largest number of pixels.
        seed: Seed of their places.
    """
    bands, height, width = lr.shape
    places = _places(height * width, most, seed=seed)
    rows, columns = (psf.operator(n * scale, scale) for n in (height, width))
    step = rows_per_chunk((bands, height, width), multiple=BLOCK_ROWS, least=BLOCK_ROWS, limit=_STRIP_BYTES)
    spectra, low = np.empty((bands, len(places))), np.empty((msi.shape[0], len(places)))
    for start in range(0, height, step):
        strip = slice(start, min(start + step, height))
        first, last = np.searchsorted(places, [strip.start * width, strip.stop * width])
        chosen = places[first:last] - strip.start * width
        reduced = apply_both(msi[:, rows.window(strip)], rows, columns, outputs=strip)
        spectra[:, first:last] = _flat(lr[:, strip])[:, chosen]
        low[:, first:last] = _flat(reduced)[:, chosen]
    return spectra, low


def _places(count: int, most: int, *, seed: int) -> NDArray[np.int64]:
    """Return at most `most` numbers below `count` in ascending order, one at a random place of each equal part."""
    if count <= most:
        return np.arange(count)
    edges = np.arange(most + 1) * count // most
    within = np.random.default_rng(seed).random(most) * np.diff(edges)
    return np.asarray(edges[:-1] + within.astype(np.int64), dtype=np.int64)


def _flat(image: NDArray[Any]) -> NDArray[Any]:
    return image.reshape(len(image), -1)
