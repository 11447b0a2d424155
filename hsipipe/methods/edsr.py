"""EDSR (arXiv 1707.02921), on all bands at once."""

from typing import Annotated, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.network_method import LossSettings, NetworkMethod
from hsipipe.methods.networks.layers import GridlessShuffle
from hsipipe.params import Positive


class EdsrSettings(LossSettings):
    """Sizes and training of EDSR."""

    width: Positive
    """Features F; 256 in the paper's EDSR, 64 in its baseline."""
    blocks: Positive
    """Residual blocks B; 32 in the paper's EDSR, 16 in its baseline."""
    residual_scale: Annotated[float, Field(gt=0, le=1)]
    """Factor on the output of each block; 0.1 in the paper's EDSR, 1 in its baseline."""


class _Block(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, without normalisation (figure 2c of the paper)."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        return x + self.scale * cast(Tensor, self.second(torch.relu(self.first(x))))


class Edsr(NetworkMethod):
    """Residual blocks on the LR grid, a long skip, and a pixel shuffle to the HR grid (section 3 of the paper).

    Differences to the paper: the head takes all C bands; the output is added to the bicubic interpolation, and the last
    convolution starts at zero, so that training starts at bicubic; every scale uses one pixel shuffle by s, and it
    cannot draw a checkerboard.
    """

    KIND: ClassVar[str] = "edsr"
    DESCRIPTION: ClassVar[str] = "EDSR: residual blocks on the LR grid and a pixel shuffle, all bands at once."
    Settings = EdsrSettings

    def __init__(self, frame: Frame, settings: EdsrSettings) -> None:
        super().__init__(frame, settings)
        width, bands = settings.width, frame.bands
        self.head = nn.Conv2d(bands, width, 3, padding=1)
        self.body = nn.Sequential(
            *(_Block(width, settings.residual_scale) for _ in range(settings.blocks)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.tail = nn.Conv2d(width, bands * frame.scale**2, 3, padding=1)
        self.shuffle = GridlessShuffle(frame.scale)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, lr: Tensor) -> Tensor:
        """Predict the residual of the interpolated input: (B, C, h, w) to (B, C, H, W)."""
        features = self.head(lr)
        result: Tensor = self.shuffle(self.tail(features + self.body(features)))
        return result
