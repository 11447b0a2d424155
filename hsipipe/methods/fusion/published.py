"""The base of published fusion networks, as baselines: the network alone, trained by the loss of its paper.

A subclass defines ``Settings``, ``__init__``, ``fuse`` and, if the loss is not L1, ``distance`` or ``objective``.
Unlike :class:`hsipipe.methods.fusion.model.FusionModel`, this base adds no projection onto the observations and no
statistics of the scene, which the papers do not have; `sampling.consistency` has no effect.
"""

from abc import abstractmethod
from dataclasses import asdict, replace
from math import gcd
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.artifacts.no_data import VALID
from hsipipe.degradation.psf import Psf
from hsipipe.errors import DataError
from hsipipe.methods.base import Frame, Network, TrainingData, as_batch, as_tensor
from hsipipe.methods.framed_network import FramedNetwork
from hsipipe.methods.losses import at_valid
from hsipipe.methods.super_resolver import check_input, check_msi
from hsipipe.patches.draws import Draws


class PublishedFusion(FramedNetwork):
    """A network from an LR-HSI and an HR-MSI to the HR-HSI.

    Images are padded by repeating their edge, so that the network sees a grid of `GRID` pixels in the same place in all
    tiles of a scene. Nothing is padded where the size is a multiple of it.

    Args:
        frame: The sensors.
        settings: An instance of `Settings`.
    """

    FUSES: ClassVar[bool] = True
    ARRAYS: ClassVar[tuple[str, ...]] = ("hr", "lr", "msi")
    GRID: ClassVar[int] = 1
    """HR pixels after which the network repeats itself: the size of its windows or of its coarsest pixels."""

    @abstractmethod
    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the published network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Compute the loss of the paper between cubes (B, C, H, W); by default L1."""
        return F.l1_loss(sr, hr)

    def objective(self, lr: Tensor, msi: Tensor, hr: Tensor, valid: Tensor | None) -> Tensor:
        """Compute the loss of a batch; by default :meth:`distance` of the output.

        Args:
            lr: (B, C, h, w).
            msi: (B, c, H, W).
            hr: The truth (B, C, H, W).
            valid: Pixels with data, for :func:`hsipipe.methods.losses.at_valid`.
        """
        return self.distance(at_valid(self.aligned(lr, msi, (0, 0)), hr, valid), hr)

    @property
    def msi_bands(self) -> int:
        """Bands c of the HR-MSI."""
        return self.frame.msi_bands

    @classmethod
    def untrained(cls, settings: Any, data: TrainingData) -> Self:
        """Build the network with initial weights drawn by the seed, then :meth:`measure` the training patches.

        Raises:
            DataError: The patches have no HR-MSI.
        """
        if not data.frame.msi_bands:
            raise DataError(
                "The patches have no HR-MSI to fuse; set degradation.srf to a sensor, a table, or measured."
            )
        return super().untrained(settings, data)

    def forward(
        self,
        lr: Tensor,
        msi: Tensor,
        origin: tuple[int, int] = (0, 0),
        *,
        hr: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Fuse a batch, or compute its loss.

        Args:
            lr: (B, C, h, w).
            msi: (B, c, H, W).
            origin: LR row and column of the images in their scene.
            hr: The truth (B, C, H, W), to compute the loss.
            valid: Pixels with data (B, 1, H, W), to compute the loss; None: all.

        Returns:
            (B, C, H, W), or the loss.
        """
        return self.aligned(lr, msi, origin) if hr is None else self.objective(lr, msi, hr, valid)

    def aligned(self, lr: Tensor, msi: Tensor, origin: tuple[int, int]) -> Tensor:
        """Apply :meth:`fuse` with its grid at the same place in all tiles of a scene."""
        height, breadth, s = lr.shape[2], lr.shape[3], self.scale
        unit = self.GRID // gcd(self.GRID, s)
        top, left = origin[0] % unit, origin[1] % unit
        margins = (left, -(left + breadth) % unit, top, -(top + height) % unit)
        if not any(margins):
            return self.fuse(lr, msi)
        low = F.pad(lr, margins, mode="replicate")
        high = F.pad(msi, tuple(s * margin for margin in margins), mode="replicate")
        return self.fuse(low, high)[:, :, s * top : s * (top + height), s * left : s * (left + breadth)]

    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute :meth:`objective` of a batch."""
        del draws
        return network(batch["lr"], batch["msi"], hr=batch["hr"], valid=batch.get(VALID))

    def predict(self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Fuse a batch of pairs.

        Args:
            lr: (B, C, h, w) float32, scaled as in training.
            msi: (B, c, H, W) float32 of the same area, scaled in the same way.
            origin: LR row and column of the images in their scene.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, extent, band count or type, NaN, or no HR-MSI.
        """
        check_input(lr, bands=self.bands)
        fine = check_msi(msi, lr, scale=self.scale, bands=self.msi_bands)
        with torch.inference_mode():
            # One by one, so that a prediction does not depend on the other images of the batch.
            return as_batch([self.one(low, high, origin) for low, high in zip(lr, fine, strict=True)])

    def one(self, lr: np.ndarray, msi: np.ndarray, origin: tuple[int, int]) -> Tensor:
        """Fuse one pair (C, h, w), (c, H, W) to (1, C, H, W)."""
        low, high = (as_tensor(image, like=self.anchor) for image in (lr, msi))
        sr: Tensor = self(low, high, origin)
        return sr

    def config(self) -> dict[str, Any]:
        """Return frame and sizes as plain values."""
        # Without wavelengths, which the domain of the training has, and without training settings.
        frame = asdict(replace(self.frame, response=None, wavelength_nm=None))
        if self.frame.response is not None:
            frame["response"] = self.frame.response.tolist()
        return {"frame": frame, "settings": self.settings.model_dump(mode="json", exclude={"optimizer", "seed"})}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""
        frame = {**config["frame"], "psf": Psf(**config["frame"]["psf"])}
        if frame["response"] is not None:
            frame["response"] = np.asarray(frame["response"], dtype=np.float64)
        return cls(Frame(**frame), cls.Settings.model_construct(**config["settings"]))


def bicubic(lr: Tensor, scale: int) -> Tensor:
    """Interpolate (B, C, h, w) to (B, C, H, W) with torch's cubic kernel (a = -0.75), as the published code does."""
    return F.interpolate(lr, scale_factor=scale, mode="bicubic", align_corners=False)


def bilinear(lr: Tensor, scale: int) -> Tensor:
    """Interpolate (B, C, h, w) to (B, C, H, W) linearly."""
    return F.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)


def conv(inputs: int, outputs: int, size: int = 3) -> nn.Conv2d:
    """Make a convolution with bias and zero padding that keeps the size."""
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)
