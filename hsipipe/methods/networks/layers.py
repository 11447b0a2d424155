"""Building blocks shared by the networks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GRID_WINDOW = 9
"""Edge, in pixels of the coarse grid, of the window over which a repeating pattern is measured."""


class ChannelAttention(nn.Module):
    """Squeeze and excitation: weights each channel by a gate from its spatial mean (arXiv 1807.02758, eq. 6)."""

    def __init__(self, width: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, width // reduction)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, hidden, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(hidden, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        gated: Tensor = x * self.gate(x)
        return gated


class SpatialSpectralBlock(nn.Module):
    """A residual pair of 3x3 convolutions, then a residual pair of 1x1 with channel attention.

    Source: SSPSR (arXiv 2005.08752, section III-B), as used by DMGASR (arXiv 2402.17285).
    """

    def __init__(self, width: int, *, scale: float = 0.1) -> None:
        super().__init__()
        self.scale = scale
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(width, width, 3, padding=1)
        )
        self.spectral = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.LeakyReLU(0.1), nn.Conv2d(width, width, 1), ChannelAttention(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        x = x + self.scale * self.spatial(x)
        result: Tensor = x + self.scale * self.spectral(x)
        return result


class Trunk(nn.Module):
    """3x3 head, spatial-spectral blocks with a long skip, 3x3 tail."""

    def __init__(self, inputs: int, outputs: int, *, width: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = nn.Sequential(*(SpatialSpectralBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        features = self.head(x)
        result: Tensor = self.tail(features + self.body(features))
        return result

    def start_at_zero(self) -> None:
        """Set the output to zero initially, so that a parallel path alone determines the result at first."""
        nn.init.zeros_(self.tail.weight)
        if self.tail.bias is not None:
            nn.init.zeros_(self.tail.bias)


class PlainResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection, without normalisation (EDSR, arXiv 1707.02921, figure 2c)."""

    def __init__(self, width: int, *, bias: bool = True) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, bias=bias) for _ in range(2))
        self.body = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        result: Tensor = x + self.body(x)
        return result


def window_mean(x: Tensor, window: int) -> Tensor:
    """Mean over the square window around each pixel, of the pixels inside of the image: (B, C, h, w) to the same shape.

    A convolution, which on a CPU takes a tenth of the time of an average pooling with stride 1.

    Args:
        x: The images.
        window: Edge of the window in pixels, odd.
    """
    half = window // 2
    total = F.conv2d(x, x.new_ones(x.shape[1], 1, window, window), padding=half, groups=x.shape[1])
    inside = [F.conv1d(x.new_ones(1, 1, size), x.new_ones(1, 1, window), padding=half)[0, 0] for size in x.shape[2:]]
    return total / torch.outer(*inside)


class GridlessShuffle(nn.Module):
    """A pixel shuffle by s (arXiv 1609.05158, eq. 4) whose output has no pattern that repeats with every coarse pixel.

    Each of the s * s phases has channels of its own, so that nothing keeps their means equal; outside of its training a
    network then draws a checkerboard. The mean of each phase over a window is replaced by the mean of all phases.

    Args:
        scale: Ratio s.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, F * s * s, h, w) to (B, F, H, W)."""
        phases = window_mean(x, _GRID_WINDOW).reshape(len(x), -1, self.scale**2, *x.shape[2:])
        pattern = phases - phases.mean(dim=2, keepdim=True)
        return F.pixel_shuffle(x - pattern.flatten(1, 2), self.scale)
