"""pca-residual: a plain residual network on principal components."""

from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.base import Frame, TrainingData, as_batch, as_tensor, sample_of
from hsipipe.methods.networks.layers import GridlessShuffle, PlainResidualBlock
from hsipipe.methods.networks.symmetries import mean_over_symmetries
from hsipipe.methods.self_ensemble import SelfEnsembleMethod, SelfEnsembleSettings
from hsipipe.methods.super_resolver import Batch, check_input, refuse_msi
from hsipipe.params import Positive
from hsipipe.patches.sample import PATCHES, mask_of, pixels_of, training_pixels

_MOST = 4.0
"""Largest whitened component, in standard deviations of the training, that the network sees."""
_LEAST = 0.01
"""Smallest standard deviation of a component, relative to the largest, that is whitened: smaller ones are noise."""


class PcaResidualSettings(SelfEnsembleSettings):
    """Sizes and training of pca-residual."""

    components: Positive
    """Principal components of the training spectra; limited by the number of bands."""
    width: Positive
    """Features of its convolutions, all at LR resolution."""
    blocks: Positive
    """Residual blocks of two convolutions."""


class PcaResidual(SelfEnsembleMethod):
    """A CNN on the LR grid that predicts the residual of bicubic interpolation.

    The LR cube is projected onto the k principal components of the training spectra, whitened and clipped. Convolutions
    at LR resolution and a pixel shuffle by s (arXiv 1609.05158, eq. 4) follow. The same components, each scaled by its
    RMS residual, map the result back to bands. The last convolution starts at zero, so that training starts at bicubic.
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
        self.shuffle = GridlessShuffle(frame.scale)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))
        self.register_buffer("mean", torch.zeros(frame.bands, 1, 1))
        self.register_buffer("basis", torch.zeros(k, frame.bands))
        self.register_buffer("component_std", torch.ones(k, 1, 1))
        self.register_buffer("residual_rms", torch.ones(k, 1, 1))

    def forward(self, lr: Tensor) -> Tensor:
        """Predict the residual of the interpolated input: (B, C, h, w) to (B, C, H, W)."""
        return torch.einsum("kc,bkhw->bchw", self.basis, self.missing(lr))

    def missing(self, lr: Tensor) -> Tensor:
        """Predict the residual in components: (B, C, h, w) to (B, k, H, W)."""
        whitened = torch.einsum("kc,bchw->bkhw", self.basis, lr - self.mean) / self.component_std
        # Spectra that the training lacks would be amplified without bound.
        whitened = whitened.clamp(-_MOST, _MOST)
        features = self.head(whitened)
        shuffled: Tensor = self.shuffle(self.tail(features + self.body(features)))
        return shuffled * self.residual_rms

    @property
    def spectra(self) -> NDArray[np.float32]:
        """Spectra (k, C) of the components."""
        return np.asarray(self.basis.cpu().numpy(), dtype=np.float32)

    def parts(self, lr: Batch, *, msi: Batch | None = None, origin: tuple[int, int] = (0, 0)) -> tuple[Batch, Batch]:
        """Predict in components; see :class:`hsipipe.methods.super_resolver.ComponentResolver`."""
        del origin
        refuse_msi(msi, name=self.name)
        check_input(lr, bands=self.bands)
        with torch.inference_mode():
            images = [self._parts(as_tensor(image, like=self.anchor)) for image in lr]
            return as_batch(low for low, _ in images), as_batch(missing for _, missing in images)

    def _predict(self, image: Batch, origin: tuple[int, int]) -> Tensor:
        del origin
        low, missing = self._parts(as_tensor(image, like=self.anchor))
        sr = self.resampler(low).up(low)
        sr[0].flatten(1).addmm_(self.basis.T, missing[0].flatten(1))
        return sr

    def _parts(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the image to interpolate (1, C, h, w) and the residual in components (1, k, H, W).

        All is linear after the network, so :func:`hsipipe.diffusion.consistency.back_project` needs the LR grid alone.
        """
        missing = mean_over_symmetries(self.missing, lr) if self.settings.self_ensemble else self.missing(lr)
        if not self.consistency:
            return lr, missing
        resampler, low = self.resampler(lr), lr
        added = torch.einsum("kc,bkhw->bchw", self.basis, resampler.down(missing))
        for _ in range(self.consistency):
            low = low + (lr - added - resampler.down_up(low))
        return low, missing

    def measure(self, data: TrainingData) -> None:
        """Compute the principal components of the training spectra and the scales of input and residual."""
        sample = sample_of(data.train, 8 * PATCHES)
        missing = torch.from_numpy(sample["hr"] - upsample(sample["lr"], self.scale))
        residuals = pixels_of(missing, mask_of(sample))
        self.set_components(training_pixels(data.train, seed=self.settings.seed), residuals)

    @torch.no_grad()
    def set_components(self, spectra: Tensor, residuals: Tensor) -> None:
        """Compute the principal components of training spectra, and measure their scales.

        They are centred, which validated better than components without centring, as in the linear path of the GAE.
        A dark pixel stays dark, since the bands of the input are added unchanged.

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
        spread = (rows @ basis.T).square().mean(dim=0).sqrt()
        self.component_std.copy_(spread.clamp_min(max(1e-6, _LEAST * float(spread.max()))).reshape(-1, 1, 1))
        # The last components of noiseless data can have zero variance.
        rms = (residuals.double() @ basis.T).square().mean(dim=0).sqrt().clamp_min(1e-6)
        self.residual_rms.copy_(rms.reshape(-1, 1, 1))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a network without trained weights."""
        return super().from_config(config if "frame" in config else _earlier(config))


def _earlier(config: dict[str, Any]) -> dict[str, Any]:
    """Convert the configuration of an earlier format, which has the sizes at the top level, to the current one."""
    frame = {key: config[key] for key in ("bands", "scale", "psf")}
    settings = {key: config[key] for key in ("components", "width", "blocks")}
    return {"frame": frame, "settings": settings, "consistency": config["consistency"]}
