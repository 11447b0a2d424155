"""Shared by SSR-NET and the networks of its comparison: values of 0 to 255, a mean squared error."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import PublishedFusion, conv
from hsipipe.params import Positive, TrainingParams


class StreamSettings(TrainingParams):
    """Size and training of TFNet and ResTFNet."""

    width: Positive
    """Features of a stream at full resolution, 32 as published; 8 times as many at the coarsest."""


class ByteFusion(PublishedFusion):
    """A network of the comparison of SSR-NET (DOI 10.1109/TGRS.2020.3018732), which has values of 0 to 255.

    The published training degrades its LR-HSI by nearest-neighbour sampling and tests on a Gaussian; here both are the
    pairs of the pipeline.
    """

    FULL: ClassVar[float] = 255.0
    """Value of the network at the full range 1.0."""
    net: nn.Module

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the published network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        sr: Tensor = self.net(self.FULL * lr, self.FULL * msi)
        return sr / self.FULL

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Compute the mean squared error in units of the network."""
        return self.FULL**2 * F.mse_loss(sr, hr)


class StreamFusion(ByteFusion):
    """TFNet or ResTFNet: a stream for each image; any scale and number of bands."""

    GRID: ClassVar[int] = 4
    Settings = StreamSettings
    NET: ClassVar[type[nn.Module]]

    def __init__(self, frame: Frame, settings: StreamSettings) -> None:
        super().__init__(frame, settings)
        self.net = self.NET(frame.bands, frame.msi_bands, scale=frame.scale, width=settings.width)


def prelu_conv(inputs: int, outputs: int, size: int = 3) -> list[nn.Module]:
    """Make a convolution and a PReLU of one slope."""
    return [conv(inputs, outputs, size), nn.PReLU()]


class Stream(nn.Module):
    """The encoder of one image, to F features at its size and 2 F at half of it.

    Args:
        bands: Bands of the image.
        width: Features F.
        deep: Convolutions after the first one.
        residual: Add their result to the features of the first one before halving.
    """

    def __init__(self, bands: int, *, width: int, deep: int, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.first = nn.Sequential(*prelu_conv(bands, width))
        self.deep = nn.Sequential(*(layer for _ in range(deep) for layer in prelu_conv(width, width)))
        self.down = nn.Sequential(*halving(width, 2 * width))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, bands, H, W) to (B, F, H, W) and (B, 2 F, H/2, W/2)."""
        first = self.first(image)
        deep = self.deep(first)
        return deep, self.down(first + deep if self.residual else deep)


def halving(inputs: int, outputs: int) -> list[nn.Module]:
    """Make a convolution of stride 2 and a PReLU."""
    return [nn.Conv2d(inputs, outputs, 2, stride=2), nn.PReLU()]


def doubling(inputs: int, outputs: int) -> list[nn.Module]:
    """Make a transposed convolution of stride 2 and a PReLU."""
    return [nn.ConvTranspose2d(inputs, outputs, 2, stride=2), nn.PReLU()]
