"""Pansharpening of each HSI band by a pan made of the MSI bands: one fit of a scene, then any part of it."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from hsipipe.methods.fusion.scene_fitted import INTERPOLATED, SceneFitted
from hsipipe.methods.fusion.scene_pixels import ScenePixels, scene_pixels
from hsipipe.methods.super_resolver import SceneImage


@dataclass(frozen=True)
class Hypersharpening(SceneFitted):
    """A method that knows a scene by its :class:`ScenePixels` alone, and a pixel by its neighbourhood."""

    @property
    def context(self) -> int:
        """LR pixels around a part on which its values depend."""
        return math.ceil(self.psf.reach(self.scale) / self.scale) + INTERPOLATED

    @abstractmethod
    def fit(self, scene: ScenePixels) -> Any:
        """Fit a scene."""

    def fit_scene(self, lr: SceneImage, msi: SceneImage) -> Any:
        """Fit a scene, (C, h, w) and (c, H, W), which is read once by rows."""
        return self.fit(scene_pixels(lr, msi, scale=self.scale, psf=self.psf))
