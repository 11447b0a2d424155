"""PSRT: a pyramid of shuffled windows, in which attention reaches distant pixels at the cost of small windows."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import PublishedFusion, bicubic, conv
from hsipipe.methods.fusion.shuffled_windows import WindowLayer, shuffle, unshuffle
from hsipipe.params import Positive, TrainingParams

_WINDOWS = (8, 4, 2)


class PsrtSettings(TrainingParams):
    """Sizes and training of PSRT."""

    width: Positive
    """Features, a multiple of 8 (the heads); 32 as published."""
    pyramids: Positive
    """Pyramids of windows, 2 as published."""


class Psrt(PublishedFusion):
    """PSRT (DOI 10.1109/TGRS.2023.3244750).

    Sides of images are padded to multiples of 16, where windows of shuffled pixels do not reach around the image; the
    published network accepts multiples of 8. It holds for any scale and number of bands.
    """

    KIND: ClassVar[str] = "psrt"
    DESCRIPTION: ClassVar[str] = "PSRT: a pyramid of shuffled windows of attention, from both images."
    GRID: ClassVar[int] = 16
    Settings = PsrtSettings

    def __init__(self, frame: Frame, settings: PsrtSettings) -> None:
        super().__init__(frame, settings)
        self.net = PsrtNetwork(frame.bands, frame.msi_bands, width=settings.width, pyramids=settings.pyramids)

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the published network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        sr: Tensor = self.net(bicubic(lr, self.scale), msi)
        return sr


class PsrtNetwork(nn.Module):
    """The published network.

    Args:
        bands: C.
        msi_bands: c.
        width: Features.
        pyramids: Pyramids of windows.
    """

    def __init__(self, bands: int, msi_bands: int, *, width: int = 32, pyramids: int = 2) -> None:
        super().__init__()
        self.head = conv(bands + msi_bands, width)
        self.body = nn.Sequential(*(_Shuffled(width, window) for _ in range(pyramids) for window in _WINDOWS))
        self.tail = nn.Sequential(conv(width, bands), nn.LeakyReLU(0.2))

    def forward(self, up: Tensor, msi: Tensor) -> Tensor:
        """Fuse the interpolated LR-HSI (B, C, H, W) and the HR-MSI (B, c, H, W) to (B, C, H, W).

        H and W must be multiples of 8.
        """
        features = self.head(torch.cat([up, msi], dim=1)).permute(0, 2, 3, 1)
        sr: Tensor = up + self.tail(self.body(features).permute(0, 3, 1, 2))
        return sr


class _Shuffled(nn.Module):
    """Attention in windows, in windows of shuffled cells, and in windows again, with a skip over all."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.cell = window // 2
        self.near, self.far, self.last = (WindowLayer(width, window) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H, W, F)."""
        far = shuffle(self.near(x), self.cell)
        out: Tensor = x + self.last(unshuffle(self.far(far), self.cell))
        return out
