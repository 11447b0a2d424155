"""SSR-NET: three convolutions on the LR-HSI with some of its bands replaced by those of the HR-MSI."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.published import bilinear, conv
from hsipipe.methods.fusion.ssrnet_family import ByteFusion
from hsipipe.methods.losses import at_valid
from hsipipe.params import TrainingParams


class Ssrnet(ByteFusion):
    """SSR-NET (DOI 10.1109/TGRS.2020.3018732); any scale and number of bands.

    It puts the MSI bands in the place of evenly spaced HSI bands. That is meaningful if each MSI band is close to the
    HSI band that it replaces; with broad bands the network has to undo it. One published parameter, which has no effect
    on the output, is omitted.

    The loss is the mean squared error of the output, of the spatial differences of the stage before it, and of the
    spectral differences of the output.
    """

    net: "SsrnetNetwork"
    KIND: ClassVar[str] = "ssrnet"
    DESCRIPTION: ClassVar[str] = "SSR-NET: convolutions on the LR-HSI with bands replaced by those of the HR-MSI."

    def __init__(self, frame: Frame, settings: TrainingParams) -> None:
        super().__init__(frame, settings)
        self.net = SsrnetNetwork(frame.bands, frame.msi_bands, scale=frame.scale)

    def objective(self, lr: Tensor, msi: Tensor, hr: Tensor, valid: Tensor | None) -> Tensor:
        """Compute the errors of the output and of the differences."""
        stages = self.net.stages(self.FULL * lr, self.FULL * msi)
        spatial, sr = (at_valid(x / self.FULL, hr, valid) for x in stages)
        rows, columns = (self.distance(spatial.diff(dim=dim), hr.diff(dim=dim)) for dim in (2, 3))
        spectral = self.distance(sr.diff(dim=1), hr.diff(dim=1)) if self.bands > 1 else 0.0
        return self.distance(sr, hr) + (rows + columns) / 2 + spectral


class SsrnetNetwork(nn.Module):
    """The published network.

    Args:
        bands: C.
        msi_bands: c; a single band replaces the last one.
        scale: s.
    """

    def __init__(self, bands: int, msi_bands: int, *, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.replaced = [bands * i // (msi_bands - 1) for i in range(msi_bands - 1)] + [bands - 1]
        self.fusion, self.spatial, self.spectral = (conv(bands, bands) for _ in range(3))

    def forward(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Fuse (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        return self.stages(lr, msi)[1]

    def stages(self, lr: Tensor, msi: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the result of the spatial stage, and of the spectral stage after it, which is the output."""
        x = bilinear(lr, self.scale)
        x[:, self.replaced] = msi
        x = F.relu(self.fusion(x))
        spatial = x + F.relu(self.spatial(x))
        return spatial, spatial + F.relu(self.spectral(spatial))
