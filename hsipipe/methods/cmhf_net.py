"""CMHF-Net (MHF-Net): proximal gradient steps of a model of both images, unfolded into a network."""

from collections import deque
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.errors import ParamsError
from hsipipe.methods.base import Frame, TrainingData, sample_of
from hsipipe.methods.fusion.published import PublishedFusion, conv
from hsipipe.methods.losses import at_valid, whole_cells
from hsipipe.params import Positive, TrainingParams
from hsipipe.patches.sample import PATCHES, mask_of, pixels_of

_STAGE_WEIGHT = 0.1
"""Weight of the errors of the stages and of the part that the MSI explains."""
_RESIDUAL_WEIGHT = 0.01
"""Weight of the power of what the last stage does not explain of the LR-HSI."""
_MSI_WEIGHT = 0.1
"""Factor on the MSI in the input of a residual unit."""
_WIDER = 3
"""Features of a residual unit in excess of those of its input."""


class CmhfSettings(TrainingParams):
    """Sizes and training of CMHF-Net."""

    stages: Positive
    """Stages, 20 as published."""
    rank: Positive
    """Rank of the part of the cube that the MSI does not explain, 12 as published."""
    refinements: Positive
    """Residual units on the bands after the last stage, 4 as published."""


class CmhfNet(PublishedFusion):
    """CMHF-Net (arXiv 1901.03281, TPAMI 2022): X = Y A + H B, with learned H, A and B.

    The published code is in TensorFlow 1. This is a reconstruction: its number of parameters at x32 is that of the
    published checkpoint (3,006,763 for 31 and 3 bands). The alignment of the strided layers at their borders, the
    averaging of the MSI to the sizes between, and the initial weights that are not named below are assumptions.

    - Scales are powers of two. The published code has 4, 16 and 32; at 2 and 8 the layers of 32 are used as far as they
      reach.
    - The normalisation uses the statistics of the current image also in a prediction, so a scene is not cut into tiles.
    - A is fitted to the training patches by least squares, B is N(0, 0.1), the degradation begins as a mean, and the
      transposed convolutions as a quarter of the identity between bands.
    """

    KIND: ClassVar[str] = "cmhf-net"
    DESCRIPTION: ClassVar[str] = "CMHF-Net: an unfolded optimisation with learned degradations, from both images."
    WHOLE_SCENE: ClassVar[bool] = True
    Settings = CmhfSettings

    def __init__(self, frame: Frame, settings: CmhfSettings) -> None:
        super().__init__(frame, settings)
        sizes = {"stages": settings.stages, "rank": settings.rank, "refinements": settings.refinements}
        self.net = CmhfNetwork(frame.bands, frame.msi_bands, scale=frame.scale, **sizes)

    def measure(self, data: TrainingData) -> None:
        """Fit A, which maps the MSI to the HSI, to the training patches."""
        sample = sample_of(data.train, PATCHES)
        hsi, msi = (pixels_of(torch.from_numpy(sample[name]), mask_of(sample)).numpy() for name in ("hr", "msi"))
        fitted = np.linalg.lstsq(msi.astype(np.float64), hsi.astype(np.float64), rcond=1e-6)[0]
        self.net.mixing.data.copy_(torch.from_numpy(fitted))

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        sr: Tensor = self.net(lr, msi)
        return sr

    def objective(self, lr: Tensor, msi: Tensor, hr: Tensor, valid: Tensor | None) -> Tensor:
        """Compute the squared errors of output, stages and MSI part, and the power of the unexplained LR-HSI."""
        stages = list(self.net.stages(lr, msi))
        wrong = torch.stack([F.mse_loss(at_valid(stage, hr, valid), hr) for stage in stages]).sum()
        down = at_valid(self.net.down(stages[-1]), lr, whole_cells(valid, self.scale))
        unexplained = (down - lr).square().mean()
        refined = at_valid(self.net.refine(stages[-1]), hr, valid)
        return F.mse_loss(refined, hr) + _STAGE_WEIGHT * wrong + _RESIDUAL_WEIGHT * unexplained


class CmhfNetwork(nn.Module):
    """The network.

    Args:
        bands: C.
        msi_bands: c.
        scale: s, a power of two.
        stages: Stages; the first is the part that the MSI explains.
        rank: Rank of the rest.
        refinements: Residual units after the last stage.

    Raises:
        ParamsError: The scale is no power of two.
    """

    def __init__(
        self, bands: int, msi_bands: int, *, scale: int, stages: int = 20, rank: int = 12, refinements: int = 4
    ) -> None:
        super().__init__()
        if scale < 2 or scale & (scale - 1):
            raise ParamsError(
                f"cmhf-net halves and doubles images and needs a scale of 2, 4, 8, 16 or 32, got {scale}; "
                "set degradation.scale to one of them, or take another method."
            )
        self.mixing = nn.Parameter(torch.zeros(msi_bands, bands))
        self.basis = nn.Parameter(0.1 * torch.randn(rank, bands))
        fours, rest = divmod(scale.bit_length() - 1, 2)
        sizes = [6] * fours + [3] * rest
        self.blurs = nn.ParameterList(torch.full((1, 1, size, size), 1 / size**2) for size in sizes)
        self.ups = nn.ModuleList(_Up(bands, msi_bands, scale) for _ in range(stages - 1))
        self.proximal = nn.ModuleList(_Unit(rank, rank) for _ in range(stages - 1))
        self.refine = nn.Sequential(*(_Unit(bands, bands) for _ in range(refinements)))

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        # One at a time: the cubes of all stages would fill the memory.
        (last,) = deque(self.stages(lr, msi), maxlen=1)
        sr: Tensor = self.refine(last)
        return sr

    def stages(self, lr: Tensor, msi: Tensor) -> Iterator[Tensor]:
        """Compute the cube (B, C, H, W) after each stage."""
        cube = from_msi = torch.einsum("kc,bkhw->bchw", self.mixing, msi)
        yield cube
        rest = torch.zeros_like(msi[:, :1])
        for up, proximal in zip(self.ups, self.proximal, strict=True):
            wrong = up(self.down(cube) - lr, msi)
            rest = proximal(rest - torch.einsum("rc,bchw->brhw", self.basis, wrong))
            cube = from_msi + torch.einsum("rc,brhw->bchw", self.basis, rest)
            yield cube

    def down(self, x: Tensor) -> Tensor:
        """Degrade (B, C, H, W) to (B, C, h, w) by learned filters, the same for all bands."""
        batch, bands = x.shape[:2]
        x = x.flatten(0, 1)[:, None]
        for blur in self.blurs:
            # The window of 6 pixels is centred on 4 pixels, that of 3 on the first of 2.
            margins, step = ((1, 1), 4) if blur.shape[-1] == 6 else ((1, 0), 2)
            x = F.conv2d(F.pad(x, margins * 2), blur, stride=step)
        return x.reshape(batch, bands, *x.shape[2:])


class _Up(nn.Module):
    """Double the size up to the HR grid, with residual units that see the MSI, and smooth each band."""

    def __init__(self, bands: int, msi_bands: int, scale: int) -> None:
        super().__init__()
        sizes = [2**power for power in range(1, scale.bit_length())]
        self.factors = [scale // size for size in sizes]
        self.doublings = nn.ModuleList(_doubling(bands) for _ in sizes)
        with_unit = {4} if scale == 4 else {2, 8, 32}
        self.units = nn.ModuleDict(
            {str(scale // size): _Unit(bands + msi_bands, bands) for size in sizes if size in with_unit}
        )
        self.smooth = nn.Conv2d(bands, bands, 4, groups=bands, bias=False)
        nn.init.constant_(self.smooth.weight, 1 / 16)

    def forward(self, x: Tensor, msi: Tensor) -> Tensor:
        """(B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        for factor, doubling in zip(self.factors, self.doublings, strict=True):
            x = doubling(x)
            if str(factor) in self.units:
                coarse = F.avg_pool2d(msi, factor)
                x = self.units[str(factor)](torch.cat([x, _MSI_WEIGHT * coarse], dim=1))
        smooth: Tensor = self.smooth(F.pad(x, (1, 2, 1, 2)))
        return smooth


def _doubling(bands: int) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(bands, bands, 3, stride=2, padding=1, output_padding=1, bias=False)
    layer.weight.data.copy_(torch.eye(bands)[:, :, None, None].expand_as(layer.weight) / 4)
    return layer


class _Unit(nn.Module):
    """Three convolutions, each with normalisation and ReLU, added to the first channels of the input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = inputs + _WIDER
        self.outputs = outputs
        self.layers = nn.Sequential(
            *_normalised(inputs, width), *_normalised(width, width), *_normalised(width, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        out: Tensor = x[:, : self.outputs] + self.layers(x)
        return out


def _normalised(inputs: int, outputs: int) -> list[nn.Module]:
    return [conv(inputs, outputs), nn.BatchNorm2d(outputs, track_running_stats=False), nn.ReLU()]
