"""CST (IEEE TIP, 2024): cross-scope spatial-spectral transformer."""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame
from hsipipe.methods.network_method import PublishedMethod, PublishedSettings
from hsipipe.methods.networks.published import ChannelGate, convolution, upsampler
from hsipipe.params import Positive

_WINDOW = (2, 16)
_SPATIAL_HEADS = 3
"""Heads of each of the two shapes of windows."""
_SPECTRAL_HEADS = 6
_EXPANSION = 2.66
_DROP_PATH = 0.1


class CstSettings(PublishedSettings):
    """Sizes and training of CST."""

    width: Positive
    """Features F, a multiple of 12; 180 in the published code."""
    stages: Positive
    """Stages; 4 in the published code."""
    layers: Positive
    """Layers of a stage; 4 in the published code."""


class CstNet(nn.Module):
    """The published network; the sides of the LR image must be multiples of 16.

    Args:
        bands: Bands C.
        scale: Ratio s.
        width: Features F.
        stages: Stages.
        layers: Layers of a stage.
    """

    def __init__(self, bands: int, scale: int, *, width: int, stages: int, layers: int) -> None:
        super().__init__()
        if width % 12:
            raise ParamsError(f"CST has width = {width}, expected a multiple of 12.")
        rates = torch.linspace(0, _DROP_PATH, stages * layers, device="cpu").tolist()
        self.head = convolution(bands, width)
        self.stages = nn.Sequential(*(_Stage(width, rates[n * layers : (n + 1) * layers]) for n in range(stages)))
        self.body = convolution(width, width)
        self.upsample = upsampler(width, scale)
        self.skip = convolution(bands, width)
        self.tail = convolution(width, bands)

    def forward(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w) and its interpolation (B, C, H, W) to (B, C, H, W)."""
        head = self.head(lr)
        features = self.upsample(self.body(self.stages(head) + head))
        return cast(Tensor, self.tail(features + self.skip(up)))


class Cst(PublishedMethod):
    """Stages of attention in windows of 2 x 16 and 16 x 2 pixels, with queries that are pooled from the whole image.

    A spectral attention and a gated feed-forward part follow in each layer. Images whose sides are no multiples of 16
    are extended by their last row and column. The queries see the whole image, so that a prediction by tiles depends on
    the tiles. Scales with other prime factors than 2 and 3 shuffle by these.

    Where text and code leave it open, a shifted layer pools its queries before the shift, and initial weights are
    torch's. Differences: the published code repeats the queries so that the images of a batch get each other's; here
    each image has its own. A normalisation of each layer that the published code never uses is omitted, with its 2 F
    parameters. The schedule is that of the trainer.
    """

    KIND: ClassVar[str] = "cst"
    DESCRIPTION: ClassVar[str] = "CST: attention in windows with queries of the whole image, and between features."
    Settings = CstSettings
    MULTIPLE: ClassVar[int] = max(_WINDOW)

    def __init__(self, frame: Frame, settings: CstSettings) -> None:
        super().__init__(frame, settings)
        self.net = CstNet(
            frame.bands, frame.scale, width=settings.width, stages=settings.stages, layers=settings.layers
        )


class _Stage(nn.Module):
    """Layers with a 1x1 convolution, and a parallel spectral residual."""

    def __init__(self, width: int, rates: list[float]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_Layer(width, shifted=n % 2 == 1, drop=rate) for n, rate in enumerate(rates)))
        self.spectral = nn.Sequential(
            convolution(width, width, 1), nn.ReLU(), convolution(width, width, 1), ChannelGate(width)
        )
        self.join = convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        spectral = x + 0.1 * self.spectral(x)
        return cast(Tensor, x + self.join(self.layers(x)) + spectral)


class _Layer(nn.Module):
    """Spatial, then spectral attention, then a gated feed-forward part; paths are dropped by image in training."""

    def __init__(self, width: int, *, shifted: bool, drop: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.spatial, self.spectral = _SpatialAttention(width, shifted=shifted), _SpectralAttention(width)
        self.feed = _GatedFeedForward(width)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        x = x + self._dropped(self.spectral(self.spatial(_normalised(self.first, x))))
        return x + self._dropped(self.feed(_normalised(self.second, x)))

    def _dropped(self, path: Tensor) -> Tensor:
        if not self.training or not self.drop:
            return path
        kept = torch.rand(len(path), 1, 1, 1, device=path.device) >= self.drop
        return path * kept / (1 - self.drop)


class _SpatialAttention(nn.Module):
    """Half of the features in wide windows, half in high ones, plus a depthwise convolution of the values."""

    def __init__(self, width: int, *, shifted: bool) -> None:
        super().__init__()
        self.inputs, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = _Windows(width // 2, _WINDOW, shifted=shifted)
        self.high = _Windows(width // 2, _WINDOW[::-1], shifted=shifted)
        self.local = convolution(width, width, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        query, key, value = self.inputs(x.movedim(1, -1)).movedim(-1, 1).chunk(3, dim=1)
        (q_wide, q_high), (k_wide, k_high), (v_wide, v_high) = (part.chunk(2, dim=1) for part in (query, key, value))
        wide = self.wide(F.adaptive_avg_pool2d(q_wide, self.wide.size), k_wide, v_wide)
        high = self.high(F.adaptive_max_pool2d(q_high, self.high.size), k_high, v_high)
        mixed = torch.cat([wide, high], dim=1) + self.local(value)
        return x + cast(Tensor, self.projection(mixed.movedim(1, -1))).movedim(-1, 1)


class _Windows(nn.Module):
    """Attention of one query image to every window."""

    def __init__(self, width: int, size: tuple[int, int], *, shifted: bool) -> None:
        super().__init__()
        self.size, self.shifted = size, shifted
        # As published: by all features of a head of both shapes.
        self.scale = (2 * width / _SPATIAL_HEADS) ** -0.5
        self.position = _PositionBias(max(1, 2 * width // 16), size)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Query (B, f, y, x) of the window's size, key and value (B, f, h, w) to (B, f, h, w)."""
        image = key.shape[2:]
        shift = tuple(n // 2 for n in self.size) if self.shifted else (0, 0)
        key, value = (self._cut(x.roll((-shift[0], -shift[1]), dims=(2, 3))) for x in (key, value))
        scores = self._cut(query) * self.scale @ key.transpose(-1, -2) + self.position()
        if self.shifted:
            scores = scores + self._mask(image, shift).to(scores)[:, None]
        mixed = scores.softmax(dim=-1) @ value
        return self._joined(mixed, image).roll(shift, dims=(2, 3))

    def _cut(self, x: Tensor) -> Tensor:
        """(B, f, h, w) to (B, windows, heads, pixels, f / heads)."""
        (batch, width, height, columns), (rows, cols) = x.shape, self.size
        # Neighbouring features belong to different heads, as published.
        x = x.reshape(batch, -1, _SPATIAL_HEADS, height // rows, rows, columns // cols, cols)
        return x.permute(0, 3, 5, 2, 4, 6, 1).reshape(batch, -1, _SPATIAL_HEADS, rows * cols, width // _SPATIAL_HEADS)

    def _joined(self, x: Tensor, image: torch.Size) -> Tensor:
        """The inverse of `_cut`."""
        (rows, cols), (height, columns) = self.size, image
        x = x.reshape(len(x), height // rows, columns // cols, _SPATIAL_HEADS, rows, cols, -1)
        return x.permute(0, 6, 3, 1, 4, 2, 5).reshape(len(x), -1, height, columns)

    def _mask(self, image: torch.Size, shift: tuple[int, ...]) -> Tensor:
        """-100 between pixels that are neighbours only by the shift: (windows, pixels, pixels)."""
        areas = []
        for length, size, moved in zip(image, self.size, shift, strict=True):
            place = torch.arange(length)
            areas.append((place >= length - size).long() + (place >= length - moved))
        (rows, cols), (height, columns) = self.size, image
        area = (3 * areas[0][:, None] + areas[1]).reshape(height // rows, rows, columns // cols, cols)
        area = area.transpose(1, 2).reshape(-1, rows * cols)
        return -100.0 * (area[:, :, None] != area[:, None])


class _PositionBias(nn.Module):
    """A network of the distance of two pixels gives the bias of each head (dynamic position bias)."""

    index: Tensor
    distances: Tensor

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        rows, cols = size
        layers: list[nn.Module] = [nn.Linear(2, width)]
        for outputs in (width, width, _SPATIAL_HEADS):
            layers += [nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs)]
        self.layers = nn.Sequential(*layers)
        steps = torch.meshgrid(torch.arange(1.0 - rows, rows), torch.arange(1.0 - cols, cols), indexing="ij")
        self.register_buffer("distances", torch.stack(steps).flatten(1).T.contiguous(), persistent=False)
        y, x = (part.flatten() for part in torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij"))
        index = (y[:, None] - y + rows - 1) * (2 * cols - 1) + (x[:, None] - x + cols - 1)
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> Tensor:
        """Biases (heads, pixels, pixels)."""
        return cast(Tensor, self.layers(self.distances))[self.index].permute(2, 0, 1)


class _SpectralAttention(nn.Module):
    """Attention between features, with queries and keys of half the image size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.temperature = nn.Parameter(torch.ones(_SPECTRAL_HEADS, 1, 1))
        self.value = convolution(width, half, 1, bias=False)
        self.query_key = nn.Sequential(
            convolution(width, 2 * half, 1, bias=False), nn.Conv2d(2 * half, 2 * half, 2, stride=2, groups=2 * half)
        )
        self.projection = convolution(half, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        value = self.value(x)
        query, key = (F.normalize(_heads(part), dim=3) for part in self.query_key(x).chunk(2, dim=1))
        weights = (query @ key.transpose(2, 3) * self.temperature).softmax(dim=3)
        return cast(Tensor, self.projection((weights @ _heads(value)).reshape(value.shape)))


class _GatedFeedForward(nn.Module):
    """As in Restormer (arXiv 2111.09881): half of the features, after GELU, multiply the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * _EXPANSION)
        self.inputs = convolution(width, 2 * hidden, 1, bias=False)
        self.depthwise = convolution(2 * hidden, 2 * hidden, groups=2 * hidden, bias=False)
        self.projection = convolution(hidden, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, h, w) to (B, F, h, w)."""
        gate, features = self.depthwise(self.inputs(x)).chunk(2, dim=1)
        return cast(Tensor, self.projection(F.gelu(gate) * features))


def _heads(x: Tensor) -> Tensor:
    """(B, F, h, w) to (B, heads, F / heads, h w)."""
    return x.reshape(len(x), _SPECTRAL_HEADS, x.shape[1] // _SPECTRAL_HEADS, -1)


def _normalised(norm: nn.Module, x: Tensor) -> Tensor:
    return cast(Tensor, norm(x.movedim(1, -1))).movedim(-1, 1)
