"""Fusformer: attention between all pixels of a tile, on the residual of the interpolated LR-HSI."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import PublishedFusion, bicubic, conv
from hsipipe.params import Positive, TrainingParams

_HEADS = 3


class FusformerSettings(TrainingParams):
    """Sizes and training of Fusformer."""

    head_width: Positive
    """Features of each of the three heads; 16 as published."""
    attention_px: Positive
    """Edge in HR pixels of the tiles whose pixels attend to each other; 64 as published."""


class Fusformer(PublishedFusion):
    """Fusformer (arXiv 2109.02079): a transformer whose tokens are the pixels of a tile.

    An image is processed tile by tile, each as in the paper; tiles start at multiples of their size, and one at the
    border is smaller. The published position tables (393,216 numbers at 64 px), which its code never uses, are
    omitted. The published network holds for any scale and number of bands.
    """

    KIND: ClassVar[str] = "fusformer"
    DESCRIPTION: ClassVar[str] = "Fusformer: attention between all pixels of a tile, from both images."
    Settings = FusformerSettings

    def __init__(self, frame: Frame, settings: FusformerSettings) -> None:
        super().__init__(frame, settings)
        self.net = FusformerNetwork(frame.bands, frame.msi_bands, head_width=settings.head_width)

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse tile by tile: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        return self.aligned(lr, msi, (0, 0))

    def aligned(self, lr: Tensor, msi: Tensor, origin: tuple[int, int]) -> Tensor:
        """Fuse tile by tile; tiles start at multiples of their size in the scene."""
        up = bicubic(lr, self.scale).clamp(0, 1)
        rows, columns = (
            _cuts(size, self.settings.attention_px, first * self.scale)
            for size, first in zip(msi.shape[2:], origin, strict=True)
        )
        strips = [torch.cat([self.net(up[:, :, y, x], msi[:, :, y, x]) for x in columns], dim=3) for y in rows]
        return torch.cat(strips, dim=2)


def _cuts(size: int, edge: int, first: int) -> list[slice]:
    """Cut an axis of pixels that starts at pixel `first` of the scene at the multiples of `edge`."""
    ends = [*range(edge - first % edge, size, edge), size]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


class FusformerNetwork(nn.Module):
    """The published network.

    Args:
        bands: C.
        msi_bands: c.
        head_width: Features of a head.
    """

    def __init__(self, bands: int, msi_bands: int, *, head_width: int = 16) -> None:
        super().__init__()
        width = _HEADS * head_width
        self.embedding = nn.Linear(bands + msi_bands, width)
        encoder = [part for _ in range(2) for part in (_Attention(width), _Perceptron(width))]
        decoder = [part for _ in range(2) for part in (_Attention(width), _Attention(width), _Perceptron(width))]
        self.layers = nn.Sequential(*encoder, *decoder)
        self.refine = nn.Sequential(conv(width, width), nn.LeakyReLU(), conv(width, bands))

    def forward(self, up: Tensor, msi: Tensor) -> Tensor:
        """Fuse the interpolated LR-HSI in 0..1 (B, C, H, W) and the HR-MSI (B, c, H, W) to (B, C, H, W) in 0..1."""
        batch, _, height, breadth = up.shape
        tokens = self.embedding(torch.cat([up, msi], dim=1).flatten(2).transpose(1, 2))
        features = self.layers(tokens).transpose(1, 2).reshape(batch, -1, height, breadth)
        sr: Tensor = up + self.refine(features)
        return sr.clamp(0, 1)


class _Attention(nn.Module):
    """Multi-head self-attention of normalised tokens, and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, F) to (B, N, F)."""
        batch, count, width = x.shape
        parts = self.qkv(self.norm(x)).reshape(batch, count, 3, _HEADS, width // _HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return out


class _Perceptron(nn.Module):
    """Two linear layers of normalised tokens, and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, F) to (B, N, F)."""
        out: Tensor = x + self.layers(x)
        return out
