"""The problem one resolution lower, where the truth is known: the scene is to be restored from its own degradation.

Wald, Ranchin, Mangolini 1997, Photogrammetric Engineering and Remote Sensing 63(6), section 4.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsipipe.artifacts.no_data import filled
from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.masked import downsample_valid
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError
from hsipipe.inference.holes import Mask
from hsipipe.inference.plan import Box
from hsipipe.inference.scene import predict_scene
from hsipipe.methods.super_resolver import SceneResolver, SuperResolver

TILE, OVERLAP = 64, 8
"""Tiles of all predictions here, in LR pixels."""
_HALO = 16
"""LR pixels around a box from which a network predicts it."""
Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Reduced:
    """A scene and its degradation. Pixels without data are filled, and count nowhere.

    Attributes:
        hr: The truth here (C, H, W): the scene; of a single image less blurred, see :func:`sharper`.
        lr: Its degradation (C, H/s, W/s), the input here.
        msi: The HR-MSI, degraded to the grid of the scene (c, H, W); None for a single image.
        valid: Pixels (H, W) with data in both.
        lr_valid: LR pixels with data.
        scale: Ratio of the pixel sizes s.
        psf: PSF of the degradation.
    """

    hr: Image
    lr: Image
    msi: Image | None
    valid: Mask
    lr_valid: Mask
    scale: int
    psf: Psf

    @property
    def box(self) -> Box:
        """The whole scene."""
        return Box(0, self.valid.shape[0], 0, self.valid.shape[1])

    def predict(self, model: SuperResolver, box: Box | None = None) -> Image:
        """Predict the scene or a box of it (C, rows, columns)."""
        box = box or self.box
        context = self.box if _needs_all(model) else self._around(box)
        msi = None
        if model.msi_bands != 0 and self.msi is not None:
            msi = self.msi[context.slices()]
        origin = (context.y0 // self.scale, context.x0 // self.scale)
        low = Box(*(edge // self.scale for edge in context)).slices()
        sr = predict_scene(model, self.lr[low], tile=TILE, overlap=OVERLAP, msi=msi)
        place = Box(*(edge // self.scale for edge in box)).slices(scale=self.scale, origin=origin)
        return np.asarray(sr[place])

    def interpolation_error(self) -> Image:
        """Return the squared error of bicubic interpolation (C, H, W)."""
        return np.square(upsample(self.lr, self.scale) - self.hr)

    def _around(self, box: Box) -> Box:
        halo = _HALO * self.scale
        grown = Box(box.y0 - halo, box.y1 + halo, box.x0 - halo, box.x1 + halo)
        return grown.overlap(self.box) or self.box


def reduce_scene(values: Image, valid: Mask, *, scale: int, psf: Psf, msi: tuple[Image, Mask] | None = None) -> Reduced:
    """Degrade a scene, and the HR-MSI of the same ground.

    Args:
        values: Scene (C, H, W); H and W are multiples of the scale.
        valid: Its pixels with data (H, W).
        scale: Ratio of the pixel sizes s.
        psf: PSF of the LR sensor.
        msi: HR-MSI (c, s H, s W) and its pixels with data.

    Raises:
        DataError: No pixel has data after the degradation.
    """
    if msi is None:
        values = sharper(values, valid, psf=psf)
    fine, known = None, valid
    if msi is not None:
        fine, seen = downsample_valid(*msi, scale, psf=psf)
        known = valid & seen
        # Filled in the same way, the two images agree next to a hole of either.
        fine = filled(fine, known, scale=scale)
    lr, has_data = downsample_valid(values, known, scale, psf=psf)
    counted = known & has_data.repeat(scale, axis=0).repeat(scale, axis=1)
    if not counted.any():
        raise DataError("No pixel of the scene has data after the degradation; is the fill value right?")
    return Reduced(values, lr, fine, counted, has_data, scale, psf)


def sharper(values: Image, valid: Mask, *, psf: Psf) -> Image:
    """Return a scene (C, H, W) less blurred by the PSF P of its sensor: one step of van Cittert (1931), 2 x - P x.

    The sensor has blurred the scene, but nothing has blurred the ground that a result at full resolution should show.
    With the scene itself as truth, fine detail would be easier to restore here than at full resolution. With the PSF of
    MTF 0.3 the step amplifies the highest frequency, and noise there, by 1.4.
    """
    blurred, _ = downsample_valid(values, valid, 1, psf=psf)
    return np.where(valid, 2 * values - blurred, values)


def _needs_all(model: SuperResolver) -> bool:
    """Return True for a model that uses statistics of the whole scene."""
    return bool(getattr(model, "WHOLE_SCENE", False)) or isinstance(model, SceneResolver)
