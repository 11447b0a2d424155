"""BRResNet: residual blocks with a bilateral rectifier, the fusion baseline "BAM" of ACM MM 2021."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import PublishedFusion, conv
from hsipipe.params import Positive, TrainingParams


class BrresnetSettings(TrainingParams):
    """Sizes and training of BRResNet."""

    width: Positive
    """Features, an even number; 64 as published."""
    blocks: Positive
    """Residual blocks, 5 as published."""


class Brresnet(PublishedFusion):
    """BRResNet (BAM, ACM Multimedia 2021, p. 4315-4323), reference 16 of HSR-Diff (arXiv 2306.12085).

    The interpolation with aligned corners depends on the size of the image, so a scene is not cut into tiles. The loss
    is L1; loss and optimizer of the paper were not available, and are those of most methods of its kind. The published
    network holds for any scale and any number of bands.
    """

    KIND: ClassVar[str] = "brresnet"
    DESCRIPTION: ClassVar[str] = "BRResNet: residual blocks that rectify both signs of a feature, from both images."
    WHOLE_SCENE: ClassVar[bool] = True
    Settings = BrresnetSettings

    def __init__(self, frame: Frame, settings: BrresnetSettings) -> None:
        super().__init__(frame, settings)
        self.net = BrresnetNetwork(frame.bands, frame.msi_bands, width=settings.width, blocks=settings.blocks)

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the published network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        sr: Tensor = self.net(lr, msi)
        return sr


class BrresnetNetwork(nn.Module):
    """The published network.

    Args:
        bands: C.
        msi_bands: c.
        width: Features.
        blocks: Residual blocks.
    """

    def __init__(self, bands: int, msi_bands: int, *, width: int = 64, blocks: int = 5) -> None:
        super().__init__()
        self.head = conv(bands + msi_bands, width)
        self.body = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.tail = conv(width, bands)

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        up = F.interpolate(lr, size=msi.shape[2:], mode="bilinear", align_corners=True)
        sr: Tensor = up + self.tail(self.body(self.head(torch.cat([msi, up], dim=1))))
        return sr


class _Block(nn.Module):
    """A convolution whose positive and negative parts are convolved separately; their concatenation is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = conv(width, width)
        self.positive = conv(width, width // 2)
        self.negative = conv(width, width - width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        features = self.features(x)
        parts = [self.positive(features.relu()), self.negative((-features).relu())]
        return x + torch.cat(parts, dim=1)
