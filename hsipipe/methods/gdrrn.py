"""GDRRN (DOI 10.1109/BigMM.2018.8499097): grouped deep recursive residual network."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.network_method import PublishedMethod, PublishedSettings
from hsipipe.methods.networks.published import convolution
from hsipipe.params import Positive


class GdrrnSettings(PublishedSettings):
    """Sizes and training of GDRRN."""

    width: Positive
    """Features F; 128 in the paper."""
    groups: Positive
    """Groups of the recursive convolutions; 2 in the paper, 1 in DMGASR's comparison."""
    recursions: Positive
    """Passes through the one pair of recursive convolutions; 9 in the paper."""


class GdrrnNet(nn.Module):
    """The published network, on the interpolated input.

    Args:
        bands: Bands C.
        width: Features F.
        groups: Groups of the recursive convolutions.
        recursions: Passes through them.
    """

    def __init__(self, bands: int, *, width: int, groups: int, recursions: int) -> None:
        super().__init__()
        if width % groups:
            raise ParamsError(f"GDRRN has width = {width}, expected a multiple of groups = {groups}.")
        self.head = convolution(bands, width, bias=False)
        self.first, self.second = (convolution(width, width, groups=groups, bias=False) for _ in range(2))
        self.tail = convolution(width, bands, bias=False)
        self.recursions = recursions
        for layer in (self.head, self.first, self.second, self.tail):
            nn.init.normal_(layer.weight, std=(2 / (9 * layer.out_channels)) ** 0.5)

    def forward(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w), which is not used, and its interpolation (B, C, H, W) to (B, C, H, W)."""
        del lr
        out = self.head(up)
        # The published ReLU works in place, so that its result is what each recursion adds.
        skip = torch.relu(out)
        for _ in range(self.recursions):
            out = self.second(torch.relu(self.first(torch.relu(out)))) + skip
        return up + cast(Tensor, self.tail(torch.relu(out)))


class Gdrrn(PublishedMethod):
    """One pair of grouped convolutions, passed nine times on the HR grid, plus the interpolated input.

    No layer depends on the scale. Differences: the schedule is that of the trainer; the weight decay is decoupled
    (AdamW); the spectral angle has no clamped cosine (see `spectral_angle`). The published class cannot be constructed
    because of a wrong name in `super()`; its layers are taken as written. DMGASR's repository has one group instead of
    two: `gdrrn-dmgasr`.
    """

    KIND: ClassVar[str] = "gdrrn"
    DESCRIPTION: ClassVar[str] = "GDRRN: a recursive pair of grouped convolutions on the interpolated LR-HSI."
    Settings = GdrrnSettings

    def __init__(self, frame: Frame, settings: GdrrnSettings) -> None:
        super().__init__(frame, settings)
        self.net = GdrrnNet(frame.bands, width=settings.width, groups=settings.groups, recursions=settings.recursions)
