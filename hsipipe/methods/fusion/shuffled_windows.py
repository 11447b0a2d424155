"""Attention in windows and in windows of shuffled pixels, of PSRT (DOI 10.1109/TGRS.2023.3244750) and BDT."""

import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.networks.attention import from_windows, to_windows

_HEADS = 8
_QUERY_SCALE = 4.0
"""Factor on the queries in the published code, where others divide by the root of the width of a head."""


def shuffle(x: Tensor, cell: int) -> Tensor:
    """Gather cells of even and odd rows and columns into the four quadrants of the image (B, H, W, F)."""
    batch, height, breadth, width = x.shape
    x = x.reshape(batch, height // (2 * cell), 2, cell, breadth // (2 * cell), 2, cell, width)
    return x.permute(0, 2, 1, 3, 5, 4, 6, 7).reshape(batch, height, breadth, width)


def unshuffle(x: Tensor, cell: int) -> Tensor:
    """Inverse of :func:`shuffle`."""
    batch, height, breadth, width = x.shape
    x = x.reshape(batch, 2, height // (2 * cell), cell, 2, breadth // (2 * cell), cell, width)
    return x.permute(0, 2, 1, 3, 5, 4, 6, 7).reshape(batch, height, breadth, width)


class WindowLayer(nn.Module):
    """Multi-head self-attention in windows, then two linear layers, each of normalised features with a skip."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, F) to (B, H, W, F)."""
        x = x + self._attend(self.norm(x))
        out: Tensor = x + self.perceptron(x)
        return out

    def _attend(self, x: Tensor) -> Tensor:
        tokens = to_windows(x, self.window)
        parts = self.qkv(tokens).reshape(*tokens.shape[:2], 3, _HEADS, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=_QUERY_SCALE)
        return from_windows(self.out(mixed.transpose(1, 2).flatten(2)), self.window, shape=x.shape)
