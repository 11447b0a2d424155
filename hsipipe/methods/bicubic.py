"""Bicubic interpolation; at scale 1 that is the input itself."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.base import Method, TrainingData
from hsipipe.methods.super_resolver import Batch, check_input, refuse_msi


@dataclass(frozen=True)
class Bicubic(Method):
    """MATLAB's imresize, cubic kernel with a = -0.5 (Keys, 10.1109/TASSP.1981.1163711).

    Attributes:
        scale: Ratio of the pixel sizes, s.
    """

    KIND: ClassVar[str] = "bicubic"
    DESCRIPTION: ClassVar[str] = "Cubic interpolation of the LR-HSI; at scale 1 the input itself. Needs no training."
    WHOLE_SCENE: ClassVar[bool] = True
    context: ClassVar[int] = 4
    """LR pixels around a tile with which its values are those of the whole scene."""
    scale: int

    @classmethod
    def untrained(cls, settings: Any, data: TrainingData) -> Self:
        """Take the scale of the patches."""
        del settings
        return cls(data.frame.scale)

    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Interpolate (B, C, h, w) to (B, C, H, W); `origin` has no effect."""
        del origin
        refuse_msi(msi, name=self.name)
        check_input(lr, bands=None)
        return np.asarray(upsample(lr, self.scale), dtype=np.float32)

    def config(self) -> dict[str, Any]:
        """The scale."""
        return {"scale": self.scale}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverse of :meth:`config`."""
        return cls(int(config["scale"]))
