"""Fill the pixels of an HR-MSI that have no data from the LR-HSI, which shows the ground below them.

A hole of the HR-MSI alone, such as a cloud of another day, is filled so that the degraded HR-MSI is the LR-HSI seen
through the spectral response. Then the two images of the pair do not contradict each other next to the hole, and a
fusion keeps its quality there (docs/adr/0039-holes-of-a-pair.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.estimate import fit_response
from hsipipe.degradation.masked import has_weight
from hsipipe.degradation.psf import Psf
from hsipipe.inference.holes import Mask
from hsipipe.inference.plan import Box
from hsipipe.inference.source import ALL, Image, SceneSource
from hsipipe.methods.fusion.scene_pixels import scene_pixels
from hsipipe.methods.super_resolver import SceneImage

_BLOCK, _HALO = 32, 8
"""Edge of a block in LR pixels, and the LR pixels around it that its holes depend on. The blocks lie on a grid, so that
the values do not depend on how the scene is read."""
_ROUNDS = 16
Response = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class PairedSource(SceneSource):
    """An HR-MSI in a file whose pixels without data are filled from the LR-HSI.

    Attributes:
        lr: The LR-HSI.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        response: Spectral response (c, C).
    """

    lr: SceneSource
    scale: int
    psf: Psf
    response: Response

    def read(self, box: Box, bands: slice = ALL) -> Image:
        """Read a box (c, rows, columns) float32 without holes."""
        values = self.read_scaled(box)
        if self.holes is not None:
            _fill(values, box, self._block, self.holes.mask, scale=self.scale)
        return values[bands]

    def _block(self, around: Box) -> Image:
        fine = Box(*(self.scale * edge for edge in around))
        holes = np.zeros(0, bool) if self.holes is None else self.holes.mask[fine.slices()[1:]]
        return _projected(
            self.lr.read(around), self.read_scaled(fine), holes, scale=self.scale, psf=self.psf, response=self.response
        )


def fill_from_lr(
    lr: Image, msi: Image, holes: Mask, lr_holes: Mask | None, *, scale: int, psf: Psf, known: Response | None
) -> Image:
    """Fill an HR-MSI in memory; the values are those of a :class:`PairedSource`.

    Args:
        lr: LR-HSI (C, h, w).
        msi: HR-MSI (c, H, W), filled by any other values.
        holes: Its pixels without data (H, W).
        lr_holes: Pixels of the LR-HSI without data (h, w); None: there are none.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        known: Spectral response (c, C); None: estimate it.
    """
    response = known
    if response is None:
        response = response_of_rest(lr, msi, holes, lr_holes, scale=scale, psf=psf)

    def block(around: Box) -> Image:
        fine = around.slices(scale=scale)
        return _projected(lr[around.slices()], msi[fine], holes[fine[1:]], scale=scale, psf=psf, response=response)

    whole = np.array(msi, dtype=np.float32)
    _fill(whole, Box(0, whole.shape[1], 0, whole.shape[2]), block, holes, scale=scale)
    return whole


def fill_source(lr: SceneSource, msi: SceneSource, *, scale: int, psf: Psf, known: Response | None) -> SceneSource:
    """Return an HR-MSI whose pixels without data are filled from the LR-HSI when it is read.

    Args:
        lr: LR-HSI.
        msi: HR-MSI.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        known: Spectral response (c, C); None: estimate it, which reads both images once.
    """
    if msi.holes is None:
        return msi
    response = known
    if response is None:
        lr_holes = None if lr.holes is None else lr.holes.mask
        response = response_of_rest(lr, msi, msi.holes.mask, lr_holes, scale=scale, psf=psf)
    return PairedSource(msi.cube, msi.full_scale, msi.holes, lr=lr, scale=scale, psf=psf, response=response)


def response_of_rest(
    lr: SceneImage, msi: SceneImage, holes: Mask, lr_holes: Mask | None, *, scale: int, psf: Psf
) -> Response:
    """Estimate the spectral response (c, C) of a pair from the LR pixels that no hole touches.

    If there are fewer of them than bands, those count that see data for at least half of their weights.

    Args:
        lr: LR-HSI (C, h, w), without holes.
        msi: HR-MSI (c, H, W), without holes.
        holes: Its pixels (H, W) that had no data.
        lr_holes: Those of the LR-HSI (h, w); None: there were none.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
    """
    weight = psf.downsample(holes.astype(np.float64)[None], scale)[0]
    seen = np.abs(weight) < 1e-9
    if lr_holes is not None:
        seen &= ~lr_holes
    if seen.sum() < lr.shape[0]:
        seen = has_weight(~holes, scale, psf=psf)
    pixels = scene_pixels(lr, msi, scale=scale, psf=psf, seen=seen if seen.any() else None)
    return fit_response(pixels.spectra, pixels.low)


def _fill(values: Image, box: Box, read: Callable[[Box], Image], holes: Mask, *, scale: int) -> None:
    """Fill the holes of a box (c, rows, columns) of an HR-MSI in place.

    Args:
        values: Values of the box.
        box: Its place in HR pixels.
        read: Fills a box of LR pixels, (c, rows, columns).
        holes: Pixels of the HR-MSI without data (H, W).
        scale: Ratio of the pixel sizes s.
    """
    if not holes[box.slices()[1:]].any():
        return
    height, width = (n // scale for n in holes.shape)
    for y, x in product(range(0, height, _BLOCK), range(0, width, _BLOCK)):
        block = Box(y, min(y + _BLOCK, height), x, min(x + _BLOCK, width))
        part = box.overlap(Box(*(scale * edge for edge in block)))
        if part is None or not (where := holes[part.slices()[1:]]).any():
            continue
        around = block.grown(_HALO, Box(0, height, 0, width))
        found = read(around)[part.slices(origin=(scale * around.y0, scale * around.x0))]
        here = part.slices(origin=(box.y0, box.x0))
        values[here] = np.where(where, found, values[here])


def _projected(lr: Image, msi: Image, holes: Mask, *, scale: int, psf: Psf, response: Response) -> Image:
    """Fill the holes so that the degraded HR-MSI is the LR-HSI seen through the response.

    Back-projection, which changes the holes alone (Irani and Peleg 1991, DOI 10.1016/1049-9652(91)90045-L, eq. 3), from
    the interpolated LR-HSI, with the momentum of Nesterov: 16 rounds do the work of 60.
    """
    spectra = np.ascontiguousarray(lr).reshape(len(lr), -1)
    low = np.asarray(response @ spectra, dtype=np.float32).reshape(-1, *lr.shape[1:])
    image = np.where(holes, upsample(low, scale), msi).astype(np.float32)
    ahead = image
    for number in range(_ROUNDS):
        misses = upsample(low - psf.downsample(ahead, scale), scale)
        found = np.where(holes, ahead + misses, msi).astype(np.float32)
        ahead = found + np.float32(number / (number + 3)) * (found - image)
        image = found
    return image
