"""pca-residual: a plain residual network on principal components."""

from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.base import Frame, TrainingData, sample_of
from hsipipe.methods.network_method import LossSettings, NetworkMethod
from hsipipe.methods.networks.layers import PlainResidualBlock
from hsipipe.params import Positive
from hsipipe.patches.sample import PATCHES, training_pixels


class PcaResidualSettings(LossSettings):
    """Sizes and training of pca-residual."""

    components: Positive
    """Principal components of the training spectra; at most the bands are taken."""
    width: Positive
    """Features of its convolutions, all at LR resolution."""
    blocks: Positive
    """Residual blocks of two convolutions."""


class PcaResidual(NetworkMethod):
    """A CNN on the LR grid that predicts what bicubic interpolation misses.

    The LR cube is projected on the k principal components of the training spectra and whitened; convolutions
    at LR resolution; pixel shuffle by s (arXiv 1609.05158, eq. 4); back to bands by the same components, each
    scaled by what is missing in it. The last convolution begins at zero, so that training starts at bicubic.
    """

    KIND: ClassVar[str] = "pca-residual"
    DESCRIPTION: ClassVar[str] = "A plain residual network on principal components of the LR-HSI."
    Settings = PcaResidualSettings
    mean: Tensor
    basis: Tensor
    component_std: Tensor
    residual_rms: Tensor

    def __init__(self, frame: Frame, settings: PcaResidualSettings) -> None:
        super().__init__(frame, settings)
        k, width = min(settings.components, frame.bands), settings.width
        self.head = nn.Conv2d(k, width, 3, padding=1)
        self.body = nn.Sequential(*(PlainResidualBlock(width) for _ in range(settings.blocks)))
        self.tail = nn.Conv2d(width, k * frame.scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(frame.scale)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))
        self.register_buffer("mean", torch.zeros(frame.bands, 1, 1))
        self.register_buffer("basis", torch.zeros(k, frame.bands))
        self.register_buffer("component_std", torch.ones(k, 1, 1))
        self.register_buffer("residual_rms", torch.ones(k, 1, 1))

    def forward(self, lr: Tensor) -> Tensor:
        """Predict the part to add to the interpolated input: (B, C, h, w) to (B, C, H, W)."""
        whitened = torch.einsum("kc,bchw->bkhw", self.basis, lr - self.mean) / self.component_std
        features = self.head(whitened)
        missing = self.shuffle(self.tail(features + self.body(features))) * self.residual_rms
        return torch.einsum("kc,bkhw->bchw", self.basis, missing)

    def measure(self, data: TrainingData) -> None:
        """Take the principal components of the training spectra and the scales of input and residual."""
        sample = sample_of(data.train, 8 * PATCHES)
        missing = torch.from_numpy(sample["hr"] - upsample(sample["lr"], self.scale))
        residuals = missing.permute(0, 2, 3, 1).reshape(-1, self.bands)
        self.set_components(training_pixels(data.train, seed=self.settings.seed), residuals)

    @torch.no_grad()
    def set_components(self, spectra: Tensor, residuals: Tensor) -> None:
        """Take the principal components of training spectra, and measure their scales.

        Centred, which validated better than components around zero, as the linear path of the GAE has them; since the
        bands of the input are added untouched, a dark pixel stays dark here all the same.

        Args:
            spectra: (M, C) HR training pixels.
            residuals: (N, C) HR pixels minus their bicubic interpolation from the LR.
        """
        mean = spectra.double().mean(dim=0)
        rows = spectra.double() - mean
        _, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        basis = vectors.flip(1)[:, : len(self.basis)].T
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.basis.copy_(basis)
        # The last components of noiseless data can be empty.
        for scale, pixels in ((self.component_std, rows), (self.residual_rms, residuals.double())):
            rms = (pixels @ basis.T).square().mean(dim=0).sqrt().clamp_min(1e-6)
            scale.copy_(rms.reshape(scale.shape))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""
        return super().from_config(config if "frame" in config else _earlier(config))


def _earlier(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a model that was saved with its sizes side by side, in today's form."""
    frame = {key: config[key] for key in ("bands", "scale", "psf")}
    settings = {key: config[key] for key in ("components", "width", "blocks")}
    return {"frame": frame, "settings": settings, "consistency": config["consistency"]}
