"""Fusion methods that are fitted to a scene in one pass, and then applied to any part of it."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hsipipe.methods.fusion.whole_scene import WholeSceneFusion
from hsipipe.methods.super_resolver import Batch, SceneImage

INTERPOLATED = 4
"""LR pixels around a pixel on which its interpolation depends."""


@dataclass(frozen=True)
class SceneFitted(WholeSceneFusion):
    """A method whose pixels depend on a fit of the scene and on their neighbourhood.

    A subclass states its fit and applies it.
    """

    WHOLE_SCENE: ClassVar[bool] = False

    @property
    @abstractmethod
    def context(self) -> int:
        """LR pixels around a part on which its values depend."""

    @abstractmethod
    def fit_scene(self, lr: SceneImage, msi: SceneImage) -> Any:
        """Fit a scene, (C, h, w) and (c, H, W), which is read once by rows."""

    @abstractmethod
    def sharpen(self, lr: Batch, msi: Batch, fitted: Any) -> NDArray[Any]:
        """Apply the fit of a scene to a part of it, (C, h, w) and (c, H, W) to (C, H, W)."""

    def fuse(self, lr: Batch, msi: Batch) -> NDArray[Any]:
        """Fuse one scene, (C, h, w) and (c, H, W) to (C, H, W)."""
        return self.sharpen(lr, msi, self.fit_scene(lr, msi))

    def for_scene(self, lr: SceneImage, msi: SceneImage) -> "FittedFusion":
        """Fit a scene of any size; see :class:`SceneResolver`."""
        self.check_response(lr.shape[0], msi.shape[0])
        return FittedFusion(self, self.fit_scene(lr, msi))


@dataclass(frozen=True)
class FittedFusion:
    """A method with its fit of a scene, for any part of it.

    Attributes:
        method: The method.
        fitted: The fit.
    """

    method: SceneFitted
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
