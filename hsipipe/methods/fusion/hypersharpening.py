"""Pansharpening of each HSI band by a pan made of the MSI bands: one fit of a scene, then any part of it."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.methods.fusion.scene_pixels import ScenePixels, scene_pixels
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion
from hsipipe.methods.super_resolver import Batch, SceneImage

_INTERPOLATED = 4
"""LR pixels around a pixel on which its interpolation depends."""


@dataclass(frozen=True)
class Hypersharpening(WholeSceneFusion):
    """A method that knows a scene by its :class:`ScenePixels` alone, and a pixel by its neighbourhood.

    A subclass states its fit and applies it. :meth:`for_scene` fits a scene of any size in one pass.
    """

    WHOLE_SCENE: ClassVar[bool] = False

    @property
    def context(self) -> int:
        """LR pixels around a part on which its values depend."""
        blurred = math.ceil(self.psf.reach(self.scale) / self.scale)
        return blurred + _INTERPOLATED

    @abstractmethod
    def fit(self, scene: ScenePixels) -> Any:
        """Fit a scene."""

    @abstractmethod
    def sharpen(self, lr: Batch, msi: Batch, fitted: Any) -> NDArray[Any]:
        """Apply the fit of a scene to a part of it, (C, h, w) and (c, H, W) to (C, H, W)."""

    def fuse(self, lr: Batch, msi: Batch) -> NDArray[Any]:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        return self.sharpen(lr, msi, self.fit(scene_pixels(lr, msi, scale=self.scale, psf=self.psf)))

    def for_scene(self, lr: SceneImage, msi: SceneImage) -> "FittedHypersharpening":
        """Fit a scene, (C, h, w) and (c, H, W), which is read once by rows; see :class:`SceneResolver`."""
        self.check_response(lr.shape[0], msi.shape[0])
        return FittedHypersharpening(self, self.fit(scene_pixels(lr, msi, scale=self.scale, psf=self.psf)))


@dataclass(frozen=True)
class FittedHypersharpening:
    """A method with its fit of a scene, for any part of it.

    Attributes:
        method: The method.
        fitted: The fit.
    """

    method: Hypersharpening
    fitted: Any

    nfe: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.method.name

    @property
    def scale(self) -> int:
        """Ratio of the pixel sizes, s."""
        return self.method.scale

    @property
    def bands(self) -> int | None:
        """Bands C; None: any number."""
        return self.method.bands

    @property
    def msi_bands(self) -> int | None:
        """Bands c of the HR-MSI; None: any number."""
        return self.method.msi_bands

    @property
    def context(self) -> int:
        """LR pixels around a part on which its values depend."""
        return self.method.context

    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Fuse parts of the scene; see :meth:`SuperResolver.predict`."""
        del origin
        low, high = self.method.checked(lr, msi)
        parts = [self.method.sharpen(a, b, self.fitted) for a, b in zip(low, high, strict=True)]
        return np.stack([np.asarray(part, dtype=np.float32) for part in parts])
