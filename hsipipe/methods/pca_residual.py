"""A plain residual network on principal components: the control that shares nothing with the diffusion."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hsipipe.artifacts import ControlCheckpoint
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.diffusion.consistency import Resampler, back_project
from hsipipe.methods.base import check_input, refuse_msi
from hsipipe.methods.checkpoint import load_module, save_checkpoint
from hsipipe.methods.networks.layers import PlainResidualBlock

KIND = "pca-residual"


class PcaResidual(nn.Module):
    """What bicubic interpolation misses, predicted by a CNN on the LR grid and added to it.

    The LR cube is projected on the k principal components of the training spectra and whitened; convolutions
    at LR resolution; pixel shuffle by s (arXiv 1609.05158, eq. 4); back to bands by the same components, each
    scaled by what is missing in it. The last convolution begins at zero, so that training starts at bicubic.

    Args:
        bands: Band count C.
        components: k, at most C.
        width: Features of the convolutions.
        blocks: Residual blocks.
        scale: Ratio s.
        psf: PSF of the LR images that it is trained for.
        consistency: Back-projection iterations of a prediction; they need no training.
    """

    mean: Tensor
    basis: Tensor
    component_std: Tensor
    residual_rms: Tensor

    def __init__(
        self,
        bands: int,
        *,
        components: int,
        width: int,
        blocks: int,
        scale: int,
        psf: Psf = BICUBIC,
        consistency: int = 0,
    ) -> None:
        super().__init__()
        self._bands, self._scale = bands, scale
        self.components, self.width, self.blocks = min(components, bands), width, blocks
        self.psf, self.consistency = psf, consistency
        self.head = nn.Conv2d(self.components, width, 3, padding=1)
        self.body = nn.Sequential(*(PlainResidualBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, self.components * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))
        self.register_buffer("mean", torch.zeros(bands, 1, 1))
        self.register_buffer("basis", torch.zeros(self.components, bands))
        self.register_buffer("component_std", torch.ones(self.components, 1, 1))
        self.register_buffer("residual_rms", torch.ones(self.components, 1, 1))

    @property
    def name(self) -> str:
        """Name of its row in tables."""
        return KIND

    @property
    def scale(self) -> int:
        """Ratio s."""
        return self._scale

    @property
    def bands(self) -> int:
        """Band count C."""
        return self._bands

    @property
    def msi_bands(self) -> int:
        """It super-resolves the LR-HSI alone."""
        return 0

    @property
    def nfe(self) -> int:
        """Network evaluations per image."""
        return 1

    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs to build the same module."""
        return {
            "kind": KIND,
            "bands": self.bands,
            "components": self.components,
            "width": self.width,
            "blocks": self.blocks,
            "scale": self.scale,
            "psf": asdict(self.psf),
            "consistency": self.consistency,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PcaResidual":
        """Build a model without trained weights."""
        sizes = {name: int(config[name]) for name in ("components", "width", "blocks", "scale", "consistency")}
        return cls(int(config["bands"]), psf=Psf(**config["psf"]), **sizes)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> "PcaResidual":
        """Read what :meth:`save` wrote, onto a device.

        Raises:
            MissingInputError: The folder holds no model.
            IntegrityError: A file is corrupt.
        """
        return load_module(folder, cls.from_config).to(device)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: ControlCheckpoint, *, consistency: int, device: torch.device | str = "cpu"
    ) -> "PcaResidual":
        """The output of the training stage, with as much back-projection as is asked for.

        Raises:
            MissingInputError: The checkpoint is missing.
            IntegrityError: The checkpoint is corrupt.
        """
        model = cls.load(checkpoint.path, device=device)
        model.consistency = consistency
        return model

    def save(self, folder: Path) -> None:
        """Write weights and configuration into the existing `folder`."""
        save_checkpoint(folder, weights=self.state_dict(), config=self.config())

    def forward(self, lr: Tensor) -> Tensor:
        """What is to be added to the interpolated input: (B, C, h, w) to (B, C, H, W)."""
        whitened = torch.einsum("kc,bchw->bkhw", self.basis, lr - self.mean) / self.component_std
        features = self.head(whitened)
        missing = self.shuffle(self.tail(features + self.body(features))) * self.residual_rms
        return torch.einsum("kc,bkhw->bchw", self.basis, missing)

    def predict(self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Super-resolve a batch.

        Args:
            lr: (B, C, h, w) float32, scaled as in training.
            msi: Refused.
            origin: Not needed: there is no noise.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, band count or type, or NaN, or an HR-MSI.
        """
        refuse_msi(msi, name=self.name)
        check_input(lr, bands=self.bands)
        with torch.inference_mode():
            # One by one, so that a prediction does not depend on its neighbours in the batch.
            images = [self._predict(image) for image in lr]
        return np.concatenate([image.float().cpu().numpy() for image in images])

    def _predict(self, image: np.ndarray) -> Tensor:
        # A copy: torch takes neither read-only nor turned arrays.
        lr = torch.from_numpy(np.array(image[None], dtype=np.float32)).to(self.basis.device)
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        resampler = Resampler(height, width, scale=self.scale, like=lr, psf=self.psf)
        sr = resampler.up(lr) + self(lr)
        return back_project(sr, lr, resampler=resampler, iterations=self.consistency)

    @torch.no_grad()
    def set_components(self, spectra: Tensor, residuals: Tensor) -> None:
        """Take the principal components of training spectra, and measure their scales.

        Centred, which validated better than components around zero, as the linear path of the GAE has them; since the
        bands of the input are added untouched, a dark pixel stays dark here all the same.

        Args:
            spectra: (M, C) HR training pixels.
            residuals: (N, C) of HR pixels what bicubic interpolation of the LR misses.
        """
        mean = spectra.double().mean(dim=0)
        rows = spectra.double() - mean
        _, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
        basis = vectors.flip(1)[:, : self.components].T
        self.mean.copy_(mean.reshape(self.mean.shape))
        self.basis.copy_(basis)
        # The last components of noiseless data can be empty.
        for scale, pixels in ((self.component_std, rows), (self.residual_rms, residuals.double())):
            rms = (pixels @ basis.T).square().mean(dim=0).sqrt().clamp_min(1e-6)
            scale.copy_(rms.reshape(scale.shape))
