"""EDSR (arXiv 1707.02921) as published, on all bands at once; edsr.py has the adapted one."""

from typing import Annotated, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.network_method import PublishedMethod, PublishedSettings
from hsipipe.methods.networks.published import convolution, upsampler
from hsipipe.params import Positive


class EdsrPublishedSettings(PublishedSettings):
    """Sizes and training of the published EDSR."""

    width: Positive
    """Features F; 256 in the paper's EDSR, 64 in its baseline."""
    blocks: Positive
    """Residual blocks B; 32 in the paper's EDSR, 16 in its baseline."""
    residual_scale: Annotated[float, Field(gt=0, le=1)]
    """Factor on the output of each block; 0.1 in the paper's EDSR, 1 in its baseline."""


class _Block(nn.Module):
    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.first, self.second = (convolution(width, width) for _ in range(2))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * cast(Tensor, self.second(torch.relu(self.first(x))))


class EdsrNet(nn.Module):
    """The published network without its mean shift, which exists for RGB only.

    Args:
        bands: Bands C.
        scale: Ratio s.
        width: Features F.
        blocks: Residual blocks B.
        residual_scale: Factor on the output of each block.
    """

    def __init__(self, bands: int, scale: int, *, width: int, blocks: int, residual_scale: float) -> None:
        super().__init__()
        self.head = convolution(bands, width)
        self.body = nn.Sequential(*(_Block(width, residual_scale) for _ in range(blocks)), convolution(width, width))
        self.tail = nn.Sequential(upsampler(width, scale), convolution(width, bands))

    def forward(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w) and its interpolation (B, C, H, W), which is not used, to (B, C, H, W)."""
        del up
        features = self.head(lr)
        return cast(Tensor, self.tail(features + self.body(features)))


class EdsrPublished(PublishedMethod):
    """Residual blocks on the LR grid and pixel shuffles, without the interpolated input.

    The head takes all C bands, which have no mean shift. Scales with other prime factors than 2 and 3 shuffle by these.
    Differences: the schedule is that of the trainer. DMGASR's comparison has 16 blocks of 128 features and the total
    variation of SSPSR in its loss: `edsr-dmgasr`.
    """

    KIND: ClassVar[str] = "edsr-paper"
    DESCRIPTION: ClassVar[str] = "EDSR as published: residual blocks on the LR grid and pixel shuffles."
    Settings = EdsrPublishedSettings

    def __init__(self, frame: Frame, settings: EdsrPublishedSettings) -> None:
        super().__init__(frame, settings)
        self.net = EdsrNet(
            frame.bands,
            frame.scale,
            width=settings.width,
            blocks=settings.blocks,
            residual_scale=settings.residual_scale,
        )
