"""The posterior of a fusion: its samples are consistent with both images."""

from dataclasses import replace
from typing import ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor

from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.posterior.method import Posterior
from hsipipe.methods.posterior.sampling import Image
from hsipipe.methods.super_resolver import SceneImage


class FusionPosterior(Posterior):
    """The posterior of a :class:`FusionModel`; see :class:`Posterior`."""

    KIND: ClassVar[str] = "fusion-posterior"
    DESCRIPTION: ClassVar[str] = "A fusion, and samples of its residual."
    FUSES: ClassVar[bool] = True
    ARRAYS: ClassVar[tuple[str, ...]] = ("hr", "lr", "msi")

    def for_scene(self, lr: SceneImage, msi: SceneImage) -> Self:
        """Return a copy that shares the weights, whose regression is bound to a scene; see :class:`SceneResolver`."""
        return self.with_mean(cast(FusionModel, self.mean).for_scene(lr, msi))

    def _unseen(self, residual: Tensor, image: Image) -> Tensor:
        """Return the part of a residual that neither sensor sees."""
        msi = torch.from_numpy(np.ascontiguousarray(image.msi)).to(residual)
        pair = cast(FusionModel, self.mean).observation(image.lr, msi)
        # The projection of a residual whose observations are zero.
        return replace(pair, lr=torch.zeros_like(pair.lr), msi=torch.zeros_like(pair.msi)).project(residual)
