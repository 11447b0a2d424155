"""Iterative back-projection of bicubic interpolation, for a sensor whose PSF is known."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import Psf
from hsipipe.methods.base import Method, TrainingData
from hsipipe.methods.super_resolver import Batch, check_input, refuse_msi
from hsipipe.params import Group, Positive


class BackProjectionSettings(Group):
    """Settings of back-projection."""

    iterations: Positive
    """Repetitions; more of them sharpen further and amplify noise."""


_INTERPOLATED = 2
"""LR pixels on each side of a pixel that bicubic interpolation takes."""


@dataclass(frozen=True)
class BackProjection(Method):
    """Adds what the degraded result lacks of the LR-HSI, interpolated, until the two agree.

    Source: Irani and Peleg 1991, DOI 10.1016/1049-9652(91)90045-L, eq. 3, with bicubic interpolation as the
    back-projection kernel and as the start.

    Attributes:
        scale: Ratio of the pixel sizes, s.
        psf: PSF of the LR sensor.
        iterations: Repetitions.
    """

    KIND: ClassVar[str] = "back-projection"
    DESCRIPTION: ClassVar[str] = "Iterative back-projection of the interpolated LR-HSI; needs the PSF, no training."
    Settings = BackProjectionSettings
    scale: int
    psf: Psf
    iterations: int = 8

    @property
    def context(self) -> int:
        """LR pixels around a part on which its values depend: each repetition looks as far again."""
        blurred = math.ceil(self.psf.reach(self.scale) / self.scale)
        return _INTERPOLATED + self.iterations * (blurred + _INTERPOLATED)

    @classmethod
    def untrained(cls, settings: BackProjectionSettings, data: TrainingData) -> Self:
        """Take scale and PSF of the patches."""
        return cls(data.frame.scale, data.frame.psf, settings.iterations)

    def predict(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> Batch:
        """Sharpen (B, C, h, w) to (B, C, H, W); `origin` has no effect."""
        del origin
        refuse_msi(msi, name=self.name)
        check_input(lr, bands=None)
        # One by one, so that a prediction does not depend on the other images of the batch.
        return np.stack([self._sharpen(image) for image in lr])

    def _sharpen(self, lr: Batch) -> Batch:
        sr = np.asarray(upsample(lr, self.scale), dtype=np.float32)
        for _ in range(self.iterations):
            sr += upsample(lr - self.psf.downsample(sr, self.scale), self.scale)
        return sr

    def config(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {"scale": self.scale, "psf": asdict(self.psf), "iterations": self.iterations}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverse of :meth:`config`."""
        return cls(int(config["scale"]), Psf(**config["psf"]), int(config["iterations"]))
