"""MSDCNN: a shallow and a deep multi-scale network whose outputs are added."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import bilinear
from hsipipe.methods.fusion.ssrnet_family import ByteFusion, prelu_conv
from hsipipe.params import TrainingParams


class Msdcnn(ByteFusion):
    """MSDCNN as the comparison of SSR-NET (DOI 10.1109/TGRS.2020.3018732) trains it; any scale and number of bands."""

    KIND: ClassVar[str] = "msdcnn"
    DESCRIPTION: ClassVar[str] = "MSDCNN: a shallow and a deep multi-scale network, from both images."

    def __init__(self, frame: Frame, settings: TrainingParams) -> None:
        super().__init__(frame, settings)
        self.net = MsdcnnNetwork(frame.bands, frame.msi_bands, scale=frame.scale)


class MsdcnnNetwork(nn.Module):
    """The published network; a PReLU follows every convolution, also the last.

    Args:
        bands: C.
        msi_bands: c.
        scale: s.
    """

    def __init__(self, bands: int, msi_bands: int, *, scale: int) -> None:
        super().__init__()
        self.scale, inputs = scale, bands + msi_bands
        self.shallow = nn.Sequential(
            *(prelu_conv(inputs, 64, 9) + prelu_conv(64, 32, 1) + prelu_conv(32, bands, 5)),
        )
        self.deep = nn.Sequential(
            *prelu_conv(inputs, 60, 7), _Scales(60), *prelu_conv(60, 30, 7), _Scales(30), *prelu_conv(30, bands, 5)
        )

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        x = torch.cat([msi, bilinear(lr, self.scale)], dim=1)
        sr: Tensor = self.shallow(x) + self.deep(x)
        return sr


class _Scales(nn.Module):
    """Convolutions of 3, 5 and 7 pixels to a third of the features each, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(nn.Sequential(*prelu_conv(width, width // 3, size)) for size in (3, 5, 7))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        return x + torch.cat([branch(x) for branch in self.scales], dim=1)
