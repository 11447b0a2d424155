"""Bicubic interpolation: what every result is measured against; at scale 1 that is the input itself."""

from dataclasses import dataclass

import numpy as np

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.base import Batch, check_input, refuse_msi


@dataclass(frozen=True)
class Bicubic:
    """MATLAB's imresize, cubic kernel with a = -0.5 (Keys, 10.1109/TASSP.1981.1163711).

    Attributes:
        scale: Ratio of the pixel sizes, s.
    """

    scale: int
    bands: int | None = None
    msi_bands: int = 0
    nfe: int = 0

    @property
    def name(self) -> str:
        """Name of its row in tables: at scale 1 nothing is interpolated."""
        return "bicubic" if self.scale > 1 else "input"

    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Interpolate (B, C, h, w) to (B, C, H, W), the same everywhere in a scene."""
        del origin
        refuse_msi(msi, name=self.name)
        check_input(lr, bands=self.bands)
        return np.asarray(upsample(lr, self.scale), dtype=np.float32)
