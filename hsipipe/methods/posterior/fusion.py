"""The posterior of a fusion: its samples are consistent with both images."""

from typing import ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.posterior.method import Image, Posterior


class FusionPosterior(Posterior):
    """The posterior of a :class:`FusionModel`; see :class:`Posterior`."""

    KIND: ClassVar[str] = "fusion-posterior"
    DESCRIPTION: ClassVar[str] = "The prediction of a fusion, and samples of what it leaves open."
    FUSES: ClassVar[bool] = True
    ARRAYS: ClassVar[tuple[str, ...]] = ("hr", "lr", "msi")

    def for_scene(self, lr: NDArray[np.float32], msi: NDArray[np.float32]) -> Self:
        """Return a copy that shares the weights, whose regression is bound to a scene; see :class:`SceneResolver`."""
        other = self._sharing()
        other.mean = cast(FusionModel, self.mean).for_scene(lr, msi)
        return other

    def _consistent(self, sr: Tensor, image: Image) -> Tensor:
        """Return the nearest cube that is consistent with both images."""
        msi = torch.from_numpy(np.ascontiguousarray(image.msi)).to(sr)
        return cast(FusionModel, self.mean).observation(image.lr, msi).project(sr)
