"""GELIN (IEEE TGRS 60, 2022): group-based embedding learning and integration network."""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.errors import ParamsError
from hsipipe.methods.network_method import GroupedMethod, PublishedSettings
from hsipipe.methods.networks.published import BandGroups, ChannelGate, convolution
from hsipipe.params import NonNegative, Positive

_DECONVOLUTIONS = {1: (3, 1, 1), 2: (4, 2, 1), 3: (3, 3, 0), 4: (8, 4, 2), 8: (12, 8, 2)}
"""Kernel, stride and padding by scale: 4 and 8 of the published code, 2 and 3 of DMGASR's repository."""


class GelinSettings(PublishedSettings):
    """Sizes and training of GELIN."""

    n_subs: Positive
    """Bands in a group; 8 in the paper for CAVE, 32 for Chikusei."""
    n_ovls: NonNegative
    """Bands that a group shares with the next; 2 in the paper for CAVE, 8 for Chikusei."""
    width: Positive
    """Features F, even; 256 in the paper, 128 in DMGASR's comparison."""
    blocks: Positive
    """Blocks of the embedding; 8 in the paper for CAVE, 6 for Chikusei."""


class GelinNet(nn.Module):
    """The published network.

    Args:
        bands: Bands C.
        scale: Ratio s.
        n_subs: Bands in a group.
        n_ovls: Bands shared with the next group.
        width: Features F.
        blocks: Blocks of the embedding.
    """

    def __init__(self, bands: int, scale: int, *, n_subs: int, n_ovls: int, width: int, blocks: int) -> None:
        super().__init__()
        if scale not in _DECONVOLUTIONS:
            raise ParamsError(f"GELIN has no upsampling by {scale}; expected {', '.join(map(str, _DECONVOLUTIONS))}.")
        if width % 2:
            raise ParamsError(f"GELIN has width = {width}, expected an even number.")
        self.groups = BandGroups(bands, n_subs=n_subs, n_ovls=n_ovls)
        self.head = convolution(n_subs, width)
        self.body = nn.Sequential(*(_Embedding(width) for _ in range(blocks)))
        self.own = _deconvolution(width, scale)
        self.neighbours = nn.Sequential(
            convolution(3 * width, width // 2), convolution(width // 2, width), *_deconvolution(width, scale)
        )
        self.error = convolution(width, width)
        self.tail = convolution(width, n_subs)

    def forward(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w) and its interpolation (B, C, H, W) to (B, C, H, W)."""
        head = self.head(self.groups.split(lr))
        embedded = head + self.body(head)
        by_group = embedded.unflatten(0, (len(lr), -1))
        three = torch.cat([by_group.roll(shift, dims=1) for shift in (1, 0, -1)], dim=2).flatten(0, 1)
        own = self.own(embedded)
        integrated = own + self.error(self.neighbours(three) - own)
        return up + self.groups.merge(self.tail(integrated))


class Gelin(GroupedMethod):
    """An embedding shared by the groups of bands; each group is integrated with its two neighbours, cyclically.

    The output is added to the interpolated input. The published code upsamples by 4 and 8, DMGASR's repository also by
    2 and 3; any other scale is an error. Odd images are pooled without their last row and column, and the gate is
    interpolated to their size. Differences: the schedule is that of the trainer. DMGASR's comparison has half the
    width and 6 blocks: `gelin-dmgasr`. Its channel attention averages over the image, so that a tile differs a little
    from the whole scene.
    """

    KIND: ClassVar[str] = "gelin"
    DESCRIPTION: ClassVar[str] = "GELIN: an embedding of groups of bands, integrated with neighbouring groups."
    Settings = GelinSettings
    NET: ClassVar[type[nn.Module]] = GelinNet
    LEAST: ClassVar[int] = 2


class _Embedding(nn.Module):
    """x + A(SC(x)): self-calibrated convolutions, then a residual pair with channel attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.plain, self.gate, self.gated, self.calibrated = (convolution(half, half) for _ in range(4))
        self.pair = nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, width), ChannelGate(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        calibrated, plain = x.chunk(2, dim=1)
        context = F.interpolate(self.gate(F.avg_pool2d(calibrated, 2)), size=calibrated.shape[2:])
        gated = self.gated(calibrated) * torch.sigmoid(calibrated + context)
        both = torch.cat([torch.relu(self.calibrated(gated)), torch.relu(self.plain(plain))], dim=1)
        return x + both + cast(Tensor, self.pair(both))


def _deconvolution(width: int, scale: int) -> nn.Sequential:
    kernel, stride, padding = _DECONVOLUTIONS[scale]
    return nn.Sequential(nn.ConvTranspose2d(width, width, kernel, stride=stride, padding=padding), nn.PReLU(width))
