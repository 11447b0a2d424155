"""UAL: three branches that exchange information (stage 1 of unsupervised adaptation learning); and UAL-DMI."""

from copy import copy
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from hsipipe.degradation.estimate import estimate_response
from hsipipe.methods.base import Frame
from hsipipe.methods.fusion.gradient_prior import GradientPrior
from hsipipe.methods.fusion.published import PublishedFusion, bilinear, conv
from hsipipe.params import Group, Positive, SamplingParams, TrainingParams


class UalSettings(TrainingParams):
    """Size and training of UAL."""

    width: Positive
    """Features of a branch, an even number; 128 as published."""


class Ual(PublishedFusion):
    """Stage 1 of UAL (Nie et al., CVPR 2020): the fusion network, trained with the truth.

    Against the paper: training sees the one PSF of the pipeline instead of five blurs, and stage 2, which adapts the
    result to each image without the truth, is omitted. The published network holds for any scale and number of bands.
    """

    KIND: ClassVar[str] = "ual"
    DESCRIPTION: ClassVar[str] = "UAL, stage 1: three branches that exchange information, from both images."
    Settings: ClassVar[type[UalSettings]] = UalSettings

    def __init__(self, frame: Frame, settings: UalSettings) -> None:
        super().__init__(frame, settings)
        self.net = UalNetwork(frame.bands, frame.msi_bands, width=settings.width)

    def fuse(self, lr: Tensor, msi: Tensor) -> Tensor:
        """Apply the published network: (B, C, h, w) and (B, c, H, W) to (B, C, H, W)."""
        sr: Tensor = self.net(bilinear(lr, self.scale), msi)
        return sr


class DmiParams(Group):
    """The refinement of UAL-DMI; see :class:`hsipipe.methods.fusion.gradient_prior.GradientPrior`."""

    rounds: Positive
    """Rounds, 20 as published."""
    coupling: Annotated[float, Field(gt=0)]
    """rho, 0.001 as published."""
    spatial: Annotated[float, Field(ge=0)]
    """mu', 50 as published."""
    spectral: Annotated[float, Field(ge=0)]
    """nu', 5 as published."""


class UalDmiSettings(UalSettings):
    """Settings of UAL-DMI."""

    dmi: DmiParams


class UalDmi(Ual):
    """UAL-DMI (arXiv 2201.09851): the prediction of UAL, refined by both images and its own gradients.

    The network and its training are those of UAL. PSF and response are those of the training, or the response is
    estimated from the pair.
    """

    KIND: ClassVar[str] = "ual-dmi"
    DESCRIPTION: ClassVar[str] = "UAL-DMI: the prediction of UAL, refined by both images and its gradients."
    Settings: ClassVar[type[UalDmiSettings]] = UalDmiSettings

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights; its response is given, or estimated from each pair."""
        other = copy(self)
        if sampling.response == "estimated":
            other.frame = replace(self.frame, response=None)
        return other

    def one(self, lr: np.ndarray, msi: np.ndarray, origin: tuple[int, int]) -> Tensor:
        """Predict by the network and refine."""
        estimate = super().one(lr, msi, origin)[0].float().cpu().numpy()
        response = self.frame.response
        if response is None:
            response = estimate_response(lr, msi, scale=self.scale, psf=self.psf)
        prior = GradientPrior(**_plain(self.settings.dmi))
        refined = prior.refine(estimate, lr, msi, psf=self.psf, response=response, scale=self.scale)
        return torch.from_numpy(refined[None])


def _plain(dmi: Any) -> dict[str, Any]:
    # A loaded model has its settings as they were saved.
    return dict(dmi) if isinstance(dmi, dict) else dmi.model_dump()


class UalNetwork(nn.Module):
    """The published network. It has no skip from the interpolated LR-HSI to the output.

    Args:
        bands: C.
        msi_bands: c.
        width: Features of a branch.
    """

    def __init__(self, bands: int, msi_bands: int, *, width: int = 128) -> None:
        super().__init__()
        inputs = (msi_bands, bands + msi_bands, bands)
        self.stems = nn.ModuleList(
            nn.Sequential(conv(count, width // 2), nn.ReLU(), conv(width // 2, width)) for count in inputs
        )
        self.first, self.second = (nn.ModuleList(_convolutions(width) for _ in inputs) for _ in range(2))
        self.information = nn.Sequential(
            conv(3 * width + 3, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width)
        )
        self.exchanges = nn.ModuleList(_Exchange(width) for _ in inputs)
        self.tail = nn.Sequential(
            conv(3 * width, 2 * width), nn.ReLU(), conv(2 * width, width), nn.ReLU(), conv(width, bands)
        )

    def forward(self, up: Tensor, msi: Tensor) -> Tensor:
        """Fuse the interpolated LR-HSI (B, C, H, W) and the HR-MSI (B, c, H, W) to (B, C, H, W)."""
        images = (msi, torch.cat([up, msi], dim=1), up)
        stems = [stem(image) for stem, image in zip(self.stems, images, strict=True)]
        features = stems
        for branches in (self.first, self.second):
            features = self._exchange([branch(x) for branch, x in zip(branches, features, strict=True)])
        sr: Tensor = self.tail(torch.cat([x + stem for x, stem in zip(features, stems, strict=True)], dim=1))
        return sr

    def _exchange(self, features: list[Tensor]) -> list[Tensor]:
        together = torch.cat(features, dim=1)
        planes = torch.ones_like(together[:, :3])
        out = []
        for number, exchange in enumerate(self.exchanges):
            # The plane of the branch itself is zero, so that the shared layers know for which branch they work.
            marks = planes.clone()
            marks[:, number] = 0
            everything = torch.cat([together, marks], dim=1)
            out.append(exchange(features[number], everything, self.information(everything)))
        return out


class _Exchange(nn.Module):
    """Modulate the features of a branch by the shared information, where a gate lets it in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = conv(3 * width + 3, width)
        self.factor, self.offset = conv(width, width), conv(width, width)

    def forward(self, x: Tensor, everything: Tensor, information: Tensor) -> Tensor:
        """(B, F, H, W), (B, 3 F + 3, H, W) and (B, F, H, W) to (B, F, H, W)."""
        gate = torch.sigmoid(self.gate(everything))
        changed = x * self.factor(information) + self.offset(information)
        mixed: Tensor = gate * x + (1 - gate) * changed
        return mixed


def _convolutions(width: int) -> nn.Sequential:
    layers = [layer for _ in range(3) for layer in (conv(width, width), nn.ReLU())]
    return nn.Sequential(*layers)
