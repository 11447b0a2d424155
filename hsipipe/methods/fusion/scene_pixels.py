"""Reduce a pair of images to few pixels with the same least squares, in one pass over strips of bounded memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hsipipe.degradation.banded import BLOCK_ROWS, apply_both
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import detail
from hsipipe.methods.super_resolver import SceneImage
from hsipipe.storage.stores import rows_per_chunk

_STRIP_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class ScenePixels:
    """At most 1 + C + c pixels, whose sums of products are those of all pixels of a scene on the LR grid.

    So means, covariances and regressions between bands are those of the scene. The pixels are the triangular factor of
    the QR decomposition of the scene's pixels: unlike normal equations, it does not square their condition number.

    Attributes:
        count: Number of LR pixels of the scene.
        ones: Values of a band that is one in the whole scene, (1, k).
        spectra: LR-HSI (C, k).
        low: Degraded HR-MSI (c, k).
        detail: Second moments (C, C) of the LR-HSI without its 3 x 3 mean.
    """

    count: int
    ones: NDArray[np.float64]
    spectra: NDArray[np.float64]
    low: NDArray[np.float64]
    detail: NDArray[np.float64]

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the means (n, 1) of rows (n, k)."""
        return np.asarray(values @ self.ones.T / self.count)

    def centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows (n, k) without their means."""
        return np.asarray(values - self.mean(values) @ self.ones)

    def moments(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the second moments (n, n) of rows (n, k)."""
        return np.asarray(values @ values.T / self.count)


def scene_pixels(
    lr: SceneImage, msi: SceneImage, *, scale: int, psf: Psf, seen: NDArray[np.bool_] | None = None
) -> ScenePixels:
    """Reduce a pair.

    The strips depend on the size of the scene alone, so that an array and a file of the same values give the same bits.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        seen: LR pixels (h, w) to take, at least one; None: all.
    """
    bands, height, width = lr.shape
    rows, columns = (psf.operator(n * scale, scale) for n in (height, width))
    step = rows_per_chunk((bands, height, width), multiple=BLOCK_ROWS, least=BLOCK_ROWS, limit=_STRIP_BYTES)
    triangle = np.empty((0, 1 + bands + msi.shape[0]))
    moments = np.zeros((bands, bands))
    count = height * width if seen is None else int(seen.sum())
    for start in range(0, height, step):
        stop = min(start + step, height)
        around = slice(max(start - 1, 0), min(stop + 1, height))
        inside = slice(start - around.start, stop - around.start)
        strip = lr[:, around]
        low = apply_both(msi[:, rows.window(slice(start, stop))], rows, columns, outputs=slice(start, stop))
        block = np.concatenate([np.ones((1, low[0].size)), _flat(strip[:, inside]), _flat(low)])
        taken = slice(None) if seen is None else seen[start:stop].ravel()
        triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, block[:, taken].T]), mode="r"))
        fine = _flat(detail(torch.from_numpy(np.ascontiguousarray(strip))[None])[0].numpy()[:, inside])[:, taken]
        moments += fine @ fine.T
    ones, spectra, low = np.split(triangle.T, [1, 1 + bands])
    return ScenePixels(count, ones, spectra, low, moments / count)


def _flat(image: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64).reshape(len(image), -1)
