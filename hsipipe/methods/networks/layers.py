"""Building blocks shared by the networks."""

from torch import Tensor, nn


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

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        result: Tensor = x + self.body(x)
        return result
