"""Building blocks that published single-image networks share, as their public code has them."""

from typing import cast

from torch import Tensor, nn

from hsipipe.errors import ParamsError
from hsipipe.methods.networks.groups import plan_groups


def convolution(inputs: int, outputs: int, kernel: int = 3, *, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    """Return a convolution that keeps the size of the image, by zero padding."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)


def upsampler(width: int, scale: int) -> nn.Sequential:
    """Return a convolution and a pixel shuffle (arXiv 1609.05158) for each prime factor of the scale."""
    layers: list[nn.Module] = []
    factor = 2
    while scale > 1:
        if scale % factor:
            factor += 1
            continue
        layers += [convolution(width, width * factor**2), nn.PixelShuffle(factor)]
        scale //= factor
    return nn.Sequential(*layers)


def two_factors(scale: int) -> tuple[int, int]:
    """Divide a scale between two upsamplers: s/2 and 2, as SSPSR does; an odd one is left to the first.

    >>> [two_factors(scale) for scale in (2, 3, 4, 8)]
    [(1, 2), (3, 1), (2, 2), (4, 2)]
    """
    return (scale, 1) if scale % 2 else (scale // 2, 2)


class ChannelGate(nn.Module):
    """Channel attention (RCAN, arXiv 1807.02758, eq. 6): global mean, 1x1 to F / r, ReLU, 1x1, sigmoid, multiply."""

    def __init__(self, width: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, width // reduction)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        return x * cast(Tensor, self.gate(x))


class SpatialSpectral(nn.Module):
    """SSPSR's block with its activations (arXiv 2005.08752, section III-B): a 3x3 and a 1x1 residual, scaled by 0.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, width))
        self.spectral = nn.Sequential(
            convolution(width, width, 1), nn.ReLU(), convolution(width, width, 1), ChannelGate(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, H, W) to (B, F, H, W)."""
        x = x + 0.1 * self.spatial(x)
        return x + 0.1 * cast(Tensor, self.spectral(x))


class SspsrTrunk(nn.Module):
    """3x3 head, spatial-spectral blocks with a long skip, upsampling: SSPSR's trunk, and its branch up to the tail."""

    def __init__(self, inputs: int, *, width: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.head = convolution(inputs, width)
        self.body = nn.Sequential(*(SpatialSpectral(width) for _ in range(blocks)))
        self.upsample = upsampler(width, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, F, h scale, w scale)."""
        features = self.head(x)
        return cast(Tensor, self.upsample(features + self.body(features)))


class BandGroups:
    """Cut a cube into overlapping groups of adjacent bands, and average groups into a cube.

    Args:
        bands: Bands C.
        n_subs: Bands in a group.
        n_ovls: Bands that a group shares with the next.

    Raises:
        ParamsError: A group is larger than the cube, or shares all its bands.
    """

    def __init__(self, bands: int, *, n_subs: int, n_ovls: int) -> None:
        if not n_ovls < n_subs <= bands:
            raise ParamsError(
                f"Groups of n_subs = {n_subs} bands that share n_ovls = {n_ovls} do not fit {bands} bands; "
                "expected n_ovls < n_subs <= bands."
            )
        self.bands, self.n_subs = bands, n_subs
        self.starts = plan_groups(bands, n_subs=n_subs, n_ovls=n_ovls).starts
        self._cover = [sum(start <= band < start + n_subs for start in self.starts) for band in range(bands)]

    @property
    def count(self) -> int:
        """Number of groups G."""
        return len(self.starts)

    def split(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B G, n, h, w)."""
        index = [start + band for start in self.starts for band in range(self.n_subs)]
        return x[:, index].reshape(-1, self.n_subs, *x.shape[2:])

    def merge(self, groups: Tensor) -> Tensor:
        """(B G, n, h, w) to (B, C, h, w), averaged where groups overlap."""
        parts = groups.reshape(-1, self.count, *groups.shape[1:])
        total = groups.new_zeros(len(parts), self.bands, *groups.shape[2:])
        for group, start in enumerate(self.starts):
            total[:, start : start + self.n_subs] += parts[:, group]
        return total / total.new_tensor(self._cover).view(1, -1, 1, 1)


class GroupedTrunk(nn.Module):
    """SSPSR's frame (arXiv 2005.08752): a branch shared by the groups, a trunk on all bands, a skip.

    Args:
        bands: Bands C.
        groups: The groups of bands.
        branch: Maps a group (n, h, w) to (n, h a, w a).
        trunk: Maps (C, h a, w a) to (F, h s, w s).
        width: Features F.
    """

    def __init__(self, bands: int, groups: BandGroups, *, branch: nn.Module, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.groups, self.branch, self.trunk = groups, branch, trunk
        self.skip = convolution(bands, width)
        self.final = convolution(width, bands)

    def forward(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w) and its interpolation (B, C, H, W) to (B, C, H, W)."""
        merged = self.groups.merge(self.branch(self.groups.split(lr)))
        return cast(Tensor, self.final(self.trunk(merged) + self.skip(up)))
