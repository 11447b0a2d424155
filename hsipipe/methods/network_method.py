"""The base of networks that super-resolve an LR-HSI without an HR-MSI: training, prediction, back-projection, saving.

A subclass defines ``Settings``, ``__init__`` and ``forward``, and ``measure`` if it needs statistics of the patches.
"""

from copy import copy
from dataclasses import asdict
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.artifacts.no_data import VALID
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import Resampler, back_project
from hsipipe.methods.base import Frame, Network, as_batch, as_tensor
from hsipipe.methods.framed_network import FramedNetwork
from hsipipe.methods.losses import at_valid, cube_loss, published_loss
from hsipipe.methods.super_resolver import check_input, refuse_msi
from hsipipe.params import LossParams, PublishedLossParams, SamplingParams, TrainingParams
from hsipipe.patches.draws import Draws


class LossSettings(TrainingParams):
    """Settings of a network that is trained by a loss between cubes."""

    loss: LossParams


class NetworkMethod(FramedNetwork):
    """A network that super-resolves an LR-HSI without an HR-MSI; it predicts the residual of the interpolation.

    Args:
        frame: The sensors.
        settings: An instance of `Settings`.
    """

    Settings: ClassVar[type[LossSettings]] = LossSettings

    def __init__(self, frame: Frame, settings: Any) -> None:
        super().__init__(frame, settings)
        self.consistency = 0

    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the loss ``settings.loss`` between cubes."""
        del draws
        hr, lr = batch["hr"], batch["lr"]
        # Interpolate outside of the network: mixed precision reduces the precision inside of it.
        sr = self.resampler(lr).up(lr) + network(lr)
        return cube_loss(at_valid(sr, hr, batch.get(VALID)), hr, self.settings.loss)

    def resampler(self, lr: Tensor) -> Resampler:
        """Return interpolation to the HR grid and degradation back, for images of this size (B, C, h, w)."""
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        return Resampler(height, width, scale=self.scale, like=lr, psf=self.psf)

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights, with the back-projection of `sampling`."""
        other = copy(self)
        other.consistency = sampling.consistency
        return other

    def predict(self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Super-resolve a batch.

        Args:
            lr: (B, C, h, w) float32, scaled as in training.
            msi: Must be None.
            origin: LR row and column of the images in their scene, for networks with a grid.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, band count or type, or NaN, or an HR-MSI.
        """
        refuse_msi(msi, name=self.name)
        check_input(lr, bands=self.bands)
        with torch.inference_mode():
            # One by one, so that a prediction does not depend on the other images of the batch.
            return as_batch([self._predict(image, origin) for image in lr])

    def _predict(self, image: np.ndarray, origin: tuple[int, int]) -> Tensor:
        del origin
        lr = as_tensor(image, like=self.anchor)
        resampler = self.resampler(lr)
        return back_project(resampler.up(lr) + self.residual(lr), lr, resampler=resampler, iterations=self.consistency)

    def residual(self, lr: Tensor) -> Tensor:
        """Predict the residual of the interpolated input of one image: (1, C, h, w) to (1, C, H, W)."""
        return cast(Tensor, self(lr))

    def config(self) -> dict[str, Any]:
        """Return frame, sizes and back-projection as plain values."""
        frame = {"bands": self.bands, "scale": self.scale, "psf": asdict(self.psf), "patch": self.frame.patch}
        # Without training settings, so that a new one does not keep saved models from loading.
        settings = self.settings.model_dump(mode="json", exclude=set(LossSettings.model_fields))
        return {"frame": frame, "settings": settings, "consistency": self.consistency}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""
        frame = {**config["frame"], "psf": Psf(**config["frame"]["psf"])}
        method = cls(Frame(**frame), cls.Settings.model_construct(**config["settings"]))
        method.consistency = int(config["consistency"])
        return method


class PublishedSettings(LossSettings):
    """Settings of a published network, with the terms of the published losses."""

    loss: PublishedLossParams


class PublishedMethod(NetworkMethod):
    """A network as published, whose output is the HR cube; ``forward`` returns its difference from the interpolation.

    A subclass sets `net`, which maps LR (B, C, h, w) and its bicubic interpolation (B, C, H, W) to (B, C, H, W).
    Initial weights are those of the published network, so training does not start at bicubic. A prediction is the
    output of the network: `sampling.consistency` has no effect.

    Attributes:
        MULTIPLE: Number that must divide the sides of an LR image; others are extended by their last row and column,
            and the result is cropped. Tiles of a scene are extended so that the network's grid is in the same place.
        LEAST: Smallest side of an LR image; a smaller one is extended in the same way.
    """

    MULTIPLE: ClassVar[int] = 1
    LEAST: ClassVar[int] = 1
    net: nn.Module

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights; `sampling` has no effect."""
        del sampling
        return copy(self)

    def forward(self, lr: Tensor, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """Predict the residual of the interpolated input: (B, C, h, w) to (B, C, H, W).

        Args:
            lr: (B, C, h, w).
            origin: LR row and column of the images in their scene.
        """
        # In full precision: the skip of a published network would otherwise round the interpolated input.
        with torch.autocast(lr.device.type, enabled=False):
            up = self.resampler(lr).up(lr)
        top, left = (start % self.MULTIPLE for start in origin)
        below, right = (
            max(-(-(before + n) // self.MULTIPLE) * self.MULTIPLE, self.LEAST) - before - n
            for before, n in zip((top, left), lr.shape[2:], strict=True)
        )
        margins = (left, right, top, below)
        sr = self.published(_extended(lr, margins), _extended(up, tuple(self.scale * margin for margin in margins)))
        y, x = top * self.scale, left * self.scale
        return sr[:, :, y : y + up.shape[2], x : x + up.shape[3]] - up

    def published(self, lr: Tensor, up: Tensor) -> Tensor:
        """Predict as published: (B, C, h, w) and its interpolation (B, C, H, W) to (B, C, H, W)."""
        return cast(Tensor, self.net(lr, up))

    def _predict(self, image: np.ndarray, origin: tuple[int, int]) -> Tensor:
        lr = as_tensor(image, like=self.anchor)
        return self.resampler(lr).up(lr) + cast(Tensor, self(lr, origin))

    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the published loss ``settings.loss``."""
        del draws
        hr, lr = batch["hr"], batch["lr"]
        sr = self.resampler(lr).up(lr) + network(lr)
        return published_loss(at_valid(sr, hr, batch.get(VALID)), hr, self.settings.loss)


class GroupedMethod(PublishedMethod):
    """A published network of groups of bands, of the sizes `n_subs`, `n_ovls`, `width` and `blocks`."""

    NET: ClassVar[type[nn.Module]]

    def __init__(self, frame: Frame, settings: Any) -> None:
        super().__init__(frame, settings)
        sizes = {name: getattr(settings, name) for name in ("n_subs", "n_ovls", "width", "blocks")}
        self.net = self.NET(frame.bands, frame.scale, **sizes)


def _extended(x: Tensor, margins: tuple[int, ...]) -> Tensor:
    """Repeat the edge of images left, right, above and below."""
    return F.pad(x, margins, mode="replicate") if any(margins) else x
