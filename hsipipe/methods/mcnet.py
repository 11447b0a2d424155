"""MCNet (DOI 10.3390/rs12101660): mixed 2-D and 3-D convolutions."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hsipipe.methods.base import Frame, TrainingData
from hsipipe.methods.network_method import PublishedMethod, PublishedSettings
from hsipipe.params import Positive
from hsipipe.patches.sample import training_pixels


class McnetSettings(PublishedSettings):
    """Sizes and training of MCNet."""

    width: Positive
    """Features F; 64 in the paper, 32 in DMGASR's comparison."""
    blocks: Positive
    """Mixed convolution modules; 4 in the paper."""
    band_means: bool
    """Subtract the training mean of each band from the input and add it to the output; not in DMGASR's comparison."""


class McnetNet(nn.Module):
    """The published network: the cube is a volume of one channel.

    Args:
        scale: Ratio s.
        width: Features F.
        blocks: Mixed convolution modules.
    """

    def __init__(self, scale: int, *, width: int, blocks: int) -> None:
        super().__init__()
        self.head = _volume(1, width, (3, 3, 3))
        self.blocks = nn.ModuleList(_Mixed(width) for _ in range(blocks))
        kernel, stride = (3, scale + 2, scale + 2), (1, scale, scale)
        self.tail = nn.Sequential(
            weight_norm(nn.ConvTranspose3d(width, width, kernel, stride=stride, padding=1)),
            _volume(width, 1, (3, 3, 3)),
        )

    def forward(self, lr: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, H, W), both without the band means."""
        head = x = self.head(lr[:, None])
        for block in self.blocks:
            x = block(x) + head
        return cast(Tensor, self.tail(x))[:, 0]


class Mcnet(PublishedMethod):
    """Separable 3-D convolutions of the volume, each followed by 2-D convolutions of its bands.

    It has no layer that depends on the number of bands, and no interpolated input. Any scale is one transposed
    convolution with a kernel of s + 2. Differences: the schedule is that of the trainer; the ReLU does not work in
    place, which gives the same values; the band means are measured on the training patches. DMGASR's repository has
    half the width and no means: `mcnet-dmgasr`.
    """

    KIND: ClassVar[str] = "mcnet"
    DESCRIPTION: ClassVar[str] = "MCNet: mixed 2-D and 3-D convolutions of the cube as a volume."
    Settings = McnetSettings
    mean: Tensor

    def __init__(self, frame: Frame, settings: McnetSettings) -> None:
        super().__init__(frame, settings)
        self.net = McnetNet(frame.scale, width=settings.width, blocks=settings.blocks)
        self.register_buffer("mean", torch.zeros(frame.bands, 1, 1))

    def published(self, lr: Tensor, up: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, H, W)."""
        del up
        return cast(Tensor, self.net(lr - self.mean)) + self.mean

    def measure(self, data: TrainingData) -> None:
        """Measure the mean of each band over training pixels."""
        if self.settings.band_means:
            spectra = training_pixels(data.train, seed=self.settings.seed)
            self.mean.copy_(spectra.double().mean(dim=0).reshape(self.mean.shape))


class _Mixed(nn.Module):
    """The mixed convolution module: three 3-D steps, each seen by 2-D convolutions, and their fusion."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.volumes = nn.ModuleList(_separable(width) for _ in range(3))
        self.bands = nn.ModuleList(_bandwise(width) for _ in range(3))
        self.weights = nn.Parameter(torch.ones(3))
        self.fusion = nn.Sequential(_volume(3 * width, width, (1, 1, 1)), nn.ReLU())
        self.last = _separable(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, C, h, w) to (B, F, C, h, w)."""
        inner, mixed = x, []
        for weight, volume, bands in zip(self.weights, self.volumes, self.bands, strict=True):
            inner = volume(inner) + inner
            flat = bands(inner.transpose(1, 2).flatten(0, 1))
            mixed.append(weight * flat.unflatten(0, (len(x), -1)).transpose(1, 2))
        return cast(Tensor, self.last(self.fusion(torch.cat(mixed, dim=1)) + x))


def _volume(inputs: int, outputs: int, kernel: tuple[int, int, int]) -> nn.Module:
    bands, rows, columns = (size // 2 for size in kernel)
    layer: nn.Module = weight_norm(nn.Conv3d(inputs, outputs, kernel, padding=(bands, rows, columns)))
    return layer


def _separable(width: int) -> nn.Sequential:
    """A convolution of the bands' images, then one along the bands."""
    return nn.Sequential(_volume(width, width, (1, 3, 3)), nn.ReLU(), _volume(width, width, (3, 1, 1)), nn.ReLU())


def _bandwise(width: int) -> nn.Sequential:
    first, second = (weight_norm(nn.Conv2d(width, width, 3, padding=1)) for _ in range(2))
    return nn.Sequential(first, nn.ReLU(), second)
