"""ResTFNet: TFNet with residual blocks."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from hsipipe.methods.fusion.published import bilinear, conv
from hsipipe.methods.fusion.ssrnet_family import Stream, StreamFusion, doubling, halving, prelu_conv


class RestfnetNetwork(nn.Module):
    """The published network; a PReLU follows every convolution, also the last, except those of one pixel.

    Args:
        bands: C.
        msi_bands: c.
        scale: s.
        width: Features F of a stream.
    """

    def __init__(self, bands: int, msi_bands: int, *, scale: int, width: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.hsi, self.msi = (Stream(count, width=width, deep=2, residual=True) for count in (bands, msi_bands))
        self.fusion, self.down = _pair(4 * width), nn.Sequential(*halving(4 * width, 8 * width))
        self.coarse, self.up = _pair(8 * width), nn.Sequential(*doubling(8 * width, 4 * width))
        self.merge_middle, self.middle = conv(8 * width, 4 * width, 1), _pair(4 * width)
        self.up_middle = nn.Sequential(*doubling(4 * width, 2 * width))
        self.merge_fine, self.fine = conv(4 * width, 2 * width, 1), _pair(2 * width)
        self.tail = nn.Sequential(*prelu_conv(2 * width, bands))

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse (B, C, h, w) and (B, c, H, W), H and W multiples of 4, to (B, C, H, W)."""
        hsi_detail, hsi = self.hsi(bilinear(lr, self.scale))
        msi_detail, fine = self.msi(msi)
        both = torch.cat([fine, hsi], dim=1)
        fused = both + self.fusion(both)
        coarse = self.down(fused)
        coarse = self.up(coarse + self.coarse(coarse))
        middle = self.merge_middle(torch.cat([fused, coarse], dim=1))
        middle = self.up_middle(middle + self.middle(middle))
        x = self.merge_fine(torch.cat([hsi_detail, msi_detail, middle], dim=1))
        sr: Tensor = self.tail(x + self.fine(x))
        return sr


class Restfnet(StreamFusion):
    """ResTFNet (arXiv 1711.02549) as the comparison of SSR-NET (DOI 10.1109/TGRS.2020.3018732) trains it."""

    KIND: ClassVar[str] = "restfnet"
    DESCRIPTION: ClassVar[str] = "ResTFNet: TFNet with residual blocks, from both images."
    NET: ClassVar[type[nn.Module]] = RestfnetNetwork


def _pair(width: int) -> nn.Sequential:
    return nn.Sequential(*prelu_conv(width, width), *prelu_conv(width, width))
