"""BDT: two transformers in opposite directions, one down from the HR grid and one up from the LR grid."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import PublishedFusion, bicubic, conv
from hsipipe.methods.fusion.shuffled_windows import WindowLayer, shuffle, unshuffle
from hsipipe.methods.networks.attention import from_windows, to_windows
from hsipipe.params import Positive, TrainingParams

_WINDOW, _HEADS, _LEVELS = 8, 8, 3
_COARSEST = 4
"""Size of the pixels of the coarsest level in HR pixels."""
_EXPANSION = 2.66


class BdtSettings(TrainingParams):
    """Size and training of BDT."""

    width: Positive
    """Features at full resolution, a multiple of 8 (the heads); 48 as published."""


class Bdt(PublishedFusion):
    """BDT, the bidirectional dilation transformer (IJCAI 2023).

    The coarsest of its levels has a quarter of the HR pixels along a side, which is the LR grid at x4. At other scales
    the LR-HSI is interpolated to that grid. Sides of images are padded to multiples of 64, so that the windows of 16
    dilated pixels of that level fit. Any number of bands.
    """

    KIND: ClassVar[str] = "bdt"
    DESCRIPTION: ClassVar[str] = "BDT: transformers down from the HR grid and up from the LR grid, from both images."
    GRID: ClassVar[int] = 64
    Settings = BdtSettings

    def __init__(self, frame: Frame, settings: BdtSettings) -> None:
        super().__init__(frame, settings)
        self.net = BdtNetwork(frame.bands, frame.msi_bands, width=settings.width)

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the published network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        coarse = lr
        if self.scale != _COARSEST:
            size = [side // _COARSEST for side in msi.shape[2:]]
            coarse = F.interpolate(lr, size=size, mode="bicubic", align_corners=False)
        sr: Tensor = self.net(coarse, bicubic(lr, self.scale), msi)
        return sr


class BdtNetwork(nn.Module):
    """The published network.

    Args:
        bands: C.
        msi_bands: c.
        width: Features at full resolution.
    """

    def __init__(self, bands: int, msi_bands: int, *, width: int = 48) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(_LEVELS)]
        self.down_head = conv(bands + msi_bands, width)
        self.down = nn.ModuleList(_Dilated(count) for count in widths)
        self.merging = nn.ModuleList(_PatchMerging(count) for count in widths[:-1])
        self.up_head = _conv(bands, width)
        self.up = nn.ModuleList(_SpectralLayer(width) for _ in widths)
        self.up_doubling, self.out_doubling = (nn.ModuleList(_doubling(width) for _ in widths[1:]) for _ in range(2))
        inputs = [widths[2] + width, widths[1] + 2 * width, widths[0] + 2 * width]
        outputs = [width, width, bands]
        self.merge = nn.ModuleList(
            nn.Sequential(_conv(count, out), _conv(out, out, 5)) for count, out in zip(inputs, outputs, strict=True)
        )

    def forward(self, coarse: Tensor, up: Tensor, msi: Tensor) -> Tensor:
        """Fuse the LR-HSI.

        Args:
            coarse: LR-HSI (B, C, H/4, W/4).
            up: The same, interpolated, (B, C, H, W).
            msi: HR-MSI (B, c, H, W); H and W are multiples of 64.

        Returns:
            (B, C, H, W).
        """
        upwards = self.up_head(coarse)
        merged: Tensor | None = None
        for level, downwards in enumerate(reversed(self._downwards(torch.cat([up, msi], dim=1)))):
            if level:
                upwards = self.up_doubling[level - 1](upwards)
            upwards = self.up[level](upwards)
            parts = [downwards, upwards]
            if merged is not None:
                parts.append(self.out_doubling[level - 1](F.leaky_relu(merged, 0.2)))
            merged = self.merge[level](torch.cat(parts, dim=1))
        assert merged is not None
        return up + merged

    def _downwards(self, images: Tensor) -> list[Tensor]:
        """Compute the features of each level from the finest to the coarsest, (B, F, ...)."""
        x, out = self.down_head(images).permute(0, 2, 3, 1), []
        for level, layers in enumerate(self.down):
            if level:
                x = self.merging[level - 1](x)
            x = layers(x)
            out.append(x.permute(0, 3, 1, 2))
        return out


class _Dilated(nn.Module):
    """Attention in windows, in windows of every second pixel, and in windows again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near, self.far, self.last = (WindowLayer(width, _WINDOW) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H, W, F)."""
        out: Tensor = self.last(unshuffle(self.far(shuffle(self.near(x), 1)), 1))
        return out


class _PatchMerging(nn.Module):
    """Four pixels become one of twice the features (Swin, arXiv 2103.14030)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H/2, W/2, 2 F)."""
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return merged


class _SpectralLayer(nn.Module):
    """Attention between the features of a window, then a gated feed-forward; both with normalisation and skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(_EXPANSION * width)
        self.norm, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.temperature = nn.Parameter(torch.ones(_HEADS, 1, 1))
        self.qkv = nn.Sequential(_conv(width, 3 * width, 1), _conv(3 * width, 3 * width, 3, groups=3 * width))
        self.out = _conv(width, width, 1)
        self.gate = nn.Sequential(_conv(width, 2 * hidden, 1), _conv(2 * hidden, 2 * hidden, 3, groups=2 * hidden))
        self.reduce = _conv(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        x = x + self._attend(_normalised(self.norm, x))
        gate, value = self.gate(_normalised(self.norm_forward, x)).chunk(2, dim=1)
        out: Tensor = x + self.reduce(F.gelu(gate) * value)
        return out

    def _attend(self, x: Tensor) -> Tensor:
        tokens = to_windows(self.qkv(x).permute(0, 2, 3, 1), _WINDOW).transpose(1, 2)
        parts = tokens.reshape(len(tokens), 3, _HEADS, -1, _WINDOW**2)
        query, key, value = parts.unbind(dim=1)
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        mixed = ((scores * self.temperature).softmax(dim=-1) @ value).flatten(1, 2).transpose(1, 2)
        shape = torch.Size((len(x), *x.shape[2:], x.shape[1]))
        out: Tensor = self.out(from_windows(mixed, _WINDOW, shape=shape).permute(0, 3, 1, 2))
        return out


def _normalised(norm: nn.Module, x: Tensor) -> Tensor:
    normalised: Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return normalised


def _conv(inputs: int, outputs: int, size: int = 3, *, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)


def _doubling(width: int) -> nn.Sequential:
    return nn.Sequential(_conv(width, 4 * width), nn.PixelShuffle(2))
