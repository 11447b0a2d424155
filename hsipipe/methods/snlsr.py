"""SNLSR (IEEE TIP, 2024): super-resolution of abundances, with spectral unmixing."""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.network_method import PublishedMethod, PublishedSettings
from hsipipe.methods.networks.published import convolution, two_factors, upsampler
from hsipipe.params import Positive

_PIXELS = 4096
"""Pixels whose F x F attention is computed at once."""


class SnlsrSettings(PublishedSettings):
    """Sizes and training of SNLSR."""

    width: Positive
    """Features F, a multiple of 4; 64 in the published code."""
    endmembers: Positive
    """Endmembers E; 30 in the published code."""
    blocks: Positive
    """Blocks before each of the two upsamplings; 3 in the published code."""


class SnlsrNet(nn.Module):
    """The published network; the sides of the LR image must be 15 or more.

    Args:
        bands: Bands C.
        scale: Ratio s.
        width: Features F.
        endmembers: Endmembers E.
        blocks: Blocks before each of the two upsamplings.
    """

    def __init__(self, bands: int, scale: int, *, width: int, endmembers: int, blocks: int) -> None:
        super().__init__()
        if width % 4:
            raise ParamsError(f"SNLSR has width = {width}, expected a multiple of 4.")
        self.unmixing = nn.Sequential(
            *_stage(bands, 8 * endmembers),
            *_stage(8 * endmembers, 4 * endmembers),
            *_stage(4 * endmembers, 2 * endmembers),
            convolution(2 * endmembers, endmembers, 1),
            nn.ReLU(),
            nn.Softmax(dim=1),
        )
        first, second = two_factors(scale)
        self.head = convolution(endmembers, width)
        self.lower = nn.Sequential(_Dense(width, blocks), upsampler(width, first))
        self.upper = nn.Sequential(_Dense(width, blocks), upsampler(width, second))
        self.tail = convolution(width, endmembers)
        self.mixing = convolution(endmembers, bands, 1, bias=False)

    def forward(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w) and its interpolation (B, C, H, W) to (B, C, H, W)."""
        features = self.head(self.abundances(lr))
        return up + cast(Tensor, self.mixing(self.tail(self.upper(self.lower(features)))))

    def abundances(self, lr: Tensor) -> Tensor:
        """(B, C, h, w) to shares of the endmembers (B, E, h, w), with a sum of 1."""
        return cast(Tensor, self.unmixing(lr))


class Snlsr(PublishedMethod):
    """Dense blocks super-resolve the abundances; the endmembers mix the result, and the interpolated input is added.

    Each block joins a spectral attention within each pixel and a spatial attention over a wide window. The published
    code upsamples twice by s / 2, which is right at s = 4 only; here the factors are s / 2 and 2, an odd scale is one
    factor. Images with a side below 15 are extended by their last row and column.

    The paper's loss also has a spectral angle and the reconstruction of the input from its abundances; the published
    code computes these and overwrites them by the L1 error, which is the loss here. Differences: the schedule is that
    of the trainer.
    """

    KIND: ClassVar[str] = "snlsr"
    DESCRIPTION: ClassVar[str] = "SNLSR: unmixing, super-resolution of the abundances, mixing."
    Settings = SnlsrSettings
    LEAST: ClassVar[int] = 15

    def __init__(self, frame: Frame, settings: SnlsrSettings) -> None:
        super().__init__(frame, settings)
        self.net = SnlsrNet(
            frame.bands,
            frame.scale,
            width=settings.width,
            endmembers=settings.endmembers,
            blocks=settings.blocks,
        )


class _Dense(nn.Module):
    """Blocks that each take all outputs before them, and a 1x1 convolution of all."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.joins = nn.ModuleList(convolution((n + 2) * width, width, 1) for n in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        outputs = [x]
        for block, join in zip(self.blocks, self.joins, strict=True):
            outputs.append(block(x))
            x = join(torch.cat(outputs, dim=1))
        return x


class _Block(nn.Module):
    """x + 1x1(N(x) - x) + depthwise 3x3(S(x) - x), with spectral attention N and spatial attention S."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spectral, self.spatial = _SpectralAttention(width), _SpatialAttention(width)
        self.pointwise, self.depthwise = convolution(width, width, 1), convolution(width, width, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        return x + cast(Tensor, self.pointwise(self.spectral(x) - x) + self.depthwise(self.spatial(x) - x))


class _SpectralAttention(nn.Module):
    """Attention between the features of a pixel: softmax(q k^T) v, of normalised q and k (F,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, width))
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.projection = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        embedded = self.embedding(x)
        pixels = embedded.movedim(1, -1).flatten(0, 2)
        mixed = torch.cat([self._attend(part) for part in torch.split(pixels, _PIXELS)])
        spread = mixed.reshape(len(x), *x.shape[2:], -1).movedim(-1, 1)
        return cast(Tensor, embedded + spread)

    def _attend(self, pixels: Tensor) -> Tensor:
        query, key = (F.normalize(part(pixels), dim=1) for part in (self.query, self.key))
        weights = (query[:, :, None] * key[:, None]).softmax(dim=2)
        return cast(Tensor, self.projection((weights @ self.value(pixels)[:, :, None])[:, :, 0]))


class _SpatialAttention(nn.Module):
    """Enhanced spatial attention (RFANet, CVPR 2020): a mask from a coarse image with a wide receptive field."""

    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // 4
        self.reduce, self.skip = convolution(width, part, 1), convolution(part, part, 1)
        self.stride = nn.Conv2d(part, part, 3, stride=2)
        self.coarse = nn.Sequential(
            nn.MaxPool2d(7, stride=3),
            convolution(part, part),
            nn.ReLU(),
            convolution(part, part),
            nn.ReLU(),
            convolution(part, part),
        )
        self.expand = convolution(part, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        reduced = self.reduce(x)
        coarse = self.coarse(self.stride(reduced))
        wide = F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(cast(Tensor, self.expand(wide + self.skip(reduced))))


class _PixelMask(nn.Module):
    """Spatial attention of CBAM (arXiv 1807.06521): a mask from the mean and the maximum over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = convolution(2, 1, 7)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        both = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(cast(Tensor, self.mask(both)))


def _stage(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return convolution(inputs, outputs), _PixelMask(), nn.Tanh()
