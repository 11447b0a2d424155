"""TFNet: a two-stream network that fuses the features of both images and decodes them."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from hsipipe.methods.fusion.published import bilinear
from hsipipe.methods.fusion.ssrnet_family import Stream, StreamFusion, doubling, halving, prelu_conv


class TfnetNetwork(nn.Module):
    """The published network; a PReLU follows every convolution, also the last.

    Args:
        bands: C.
        msi_bands: c.
        scale: s.
        width: Features F of a stream.
    """

    def __init__(self, bands: int, msi_bands: int, *, scale: int, width: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.hsi, self.msi = Stream(bands, width=width, deep=1), Stream(msi_bands, width=width, deep=1)
        self.fusion = nn.Sequential(*prelu_conv(4 * width, 4 * width), *prelu_conv(4 * width, 4 * width))
        self.coarse = nn.Sequential(
            *halving(4 * width, 8 * width),
            *prelu_conv(8 * width, 8 * width),
            *prelu_conv(8 * width, 8 * width),
            *doubling(8 * width, 4 * width),
        )
        self.middle = nn.Sequential(
            *prelu_conv(8 * width, 4 * width), *prelu_conv(4 * width, 4 * width), *doubling(4 * width, 2 * width)
        )
        self.fine = nn.Sequential(
            *prelu_conv(4 * width, 2 * width), *prelu_conv(2 * width, 2 * width), *prelu_conv(2 * width, bands)
        )

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse (B, C, h, w) and (B, c, H, W), H and W multiples of 4, to (B, C, H, W)."""
        hsi_detail, hsi = self.hsi(bilinear(lr, self.scale))
        msi_detail, fine = self.msi(msi)
        fused = self.fusion(torch.cat([fine, hsi], dim=1))
        middle = self.middle(torch.cat([fused, self.coarse(fused)], dim=1))
        sr: Tensor = self.fine(torch.cat([hsi_detail, msi_detail, middle], dim=1))
        return sr


class Tfnet(StreamFusion):
    """TFNet (arXiv 1711.02549) as the comparison of SSR-NET (DOI 10.1109/TGRS.2020.3018732) trains it."""

    KIND: ClassVar[str] = "tfnet"
    DESCRIPTION: ClassVar[str] = "TFNet: a stream for each image, fused at half the resolution and decoded."
    NET: ClassVar[type[nn.Module]] = TfnetNetwork
