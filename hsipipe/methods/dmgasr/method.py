"""DMGASR (arXiv 2402.17285): group autoencoder + latent diffusion, as one super-resolver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hsipipe.artifacts import DiffusionCheckpoint, GaeCheckpoint, RegressionCheckpoint
from hsipipe.diffusion.consistency import Resampler, back_project
from hsipipe.errors import ParamsError
from hsipipe.methods.base import check_input, refuse_msi
from hsipipe.methods.checkpoint import load_module, save_checkpoint
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.moments import moments
from hsipipe.params import SamplingParams

KIND = "dmgasr"


class _Input(NamedTuple):
    """What all samples of an image share: the input (1, C, h, w), interpolated to (1, C, H, W), and its latent.

    `decoded` is the latent through the decoder (1, C, H, W), None where the output is decoded plainly.
    """

    lr: Tensor
    up: Tensor
    z_lr: Tensor
    decoded: Tensor | None
    resampler: Resampler


class Dmgasr(nn.Module):
    """The whole super-resolver: bicubic to H x W, encode, sample the groups together, decode.

    Source: arXiv 2402.17285, Algorithm 1.

    Args:
        gae: Trained autoencoder.
        net: Trained latent network.
        sampling: How predictions are made.
    """

    def __init__(self, gae: GroupAutoencoder, net: LatentNet, *, sampling: SamplingParams) -> None:
        super().__init__()
        self.gae, self.net, self.sampling = gae, net, sampling
        self.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """Name of its row in tables."""
        return KIND if self.net.objective == "diffusion" else "regression"

    @property
    def scale(self) -> int:
        """Ratio s."""
        return self.net.scale

    @property
    def bands(self) -> int:
        """Band count C."""
        return self.gae.bands

    @property
    def msi_bands(self) -> int:
        """It super-resolves the LR-HSI alone."""
        return 0

    @property
    def wavelength_nm(self) -> tuple[float, ...] | None:
        """Band centres (C,) of the sensor that it serves; None: bands are known by their number alone."""
        return self.gae.wavelength_nm

    @property
    def samples(self) -> int:
        """Samples K of which a prediction is the mean; 1 where they would all be the same."""
        return self.sampling.samples if self.net.varies(self.sampling) else 1

    @property
    def nfe(self) -> int:
        """Network evaluations per image: samples times steps."""
        if self.net.objective == "regression":
            return 1
        return self.samples * len(self.net.schedule.timesteps(self.sampling.steps))

    def with_samples(self, samples: int) -> "Dmgasr":
        """The same weights, not copied, with predictions that are the mean of `samples` samples.

        Raises:
            ParamsError: It is not a positive number.
        """
        if samples < 1:
            raise ParamsError(f"Got {samples} samples, expected at least 1.")
        return Dmgasr(self.gae, self.net, sampling=self.sampling.model_copy(update={"samples": samples}))

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> "Dmgasr":
        """The same weights, not copied, for the cubes of another sensor; what is saved serves the trained one.

        Args:
            wavelength_nm: Band centres (C,), strictly increasing.

        Raises:
            ModelInputError: The model knows bands by their number, or its windows do not cover every band.
            DataError: The centres are unknown or do not increase.
            ParamsError: The output is decoded plainly and would lack what the resampling loses.
        """
        gae = self.gae.for_wavelengths(wavelength_nm)
        if gae.wavelength_nm != self.gae.wavelength_nm and not self.sampling.residual_decode:
            raise ParamsError(
                "Another sensor's bands are resampled to the windows of the model and back, and what that loses "
                "cancels in residual decoding alone; this model has sampling.residual_decode: false, set it to true."
            )
        return Dmgasr(gae, self.net, sampling=self.sampling)

    @classmethod
    def from_checkpoints(
        cls,
        gae: GaeCheckpoint,
        net: DiffusionCheckpoint | RegressionCheckpoint,
        *,
        sampling: SamplingParams,
        device: torch.device | str = "cpu",
    ) -> "Dmgasr":
        """Assemble the model from the outputs of the training stages, on a device.

        Raises:
            MissingInputError: A checkpoint is missing.
            IntegrityError: A checkpoint is corrupt.
        """
        return cls(load_gae(gae.path), load_latent_net(net.path), sampling=sampling).to(device)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> "Dmgasr":
        """Read what :meth:`save` wrote, onto a device.

        Raises:
            MissingInputError: The folder holds no model.
            IntegrityError: A file is corrupt.
        """
        return load_module(folder, cls.from_config).to(device)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Dmgasr":
        """Build a model without trained weights."""
        return cls(
            GroupAutoencoder.from_config(config["gae"]),
            LatentNet.from_config(config["net"]),
            # A model that was saved without the number predicts from one sample.
            sampling=SamplingParams.model_validate({"samples": 1, **config["sampling"]}),
        )

    def save(self, folder: Path) -> None:
        """Write weights and configuration into the existing `folder`."""
        config = {
            "kind": KIND,
            "gae": self.gae.config(),
            "net": self.net.config(),
            "sampling": self.sampling.model_dump(mode="json"),
        }
        save_checkpoint(folder, weights=self.state_dict(), config=config)

    def predict(self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Super-resolve a batch: the mean of the samples.

        Args:
            lr: (B, C, h, w) float32, scaled as in training (reflectance in 0..1).
            msi: Refused.
            origin: LR row and column of the images in their scene.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, band count or type, or NaN, or an HR-MSI.
        """
        return self.predict_with_spread(lr, msi=msi, origin=origin)[0]

    def predict_with_spread(
        self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`predict`, and with it the standard deviation of the samples.

        It is zero where all samples would be the same, in which case there is but one: a regression, or
        a single evaluation with `scale_input` (see :meth:`LatentNet.varies`).

        Args:
            lr: (B, C, h, w) float32, scaled as in training (reflectance in 0..1).
            msi: Refused.
            origin: LR row and column of the images in their scene.

        Returns:
            Mean and standard deviation (K - 1 in its denominator) of the samples, each (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, band count or type, or NaN, or an HR-MSI.
        """
        refuse_msi(msi, name=self.name)
        remedy = "give the cube its wavelengths, which bind the model to it: model.for_wavelengths(wavelength_nm)"
        check_input(lr, bands=self.bands, remedy=remedy if self.wavelength_nm else None)
        with torch.inference_mode():
            means, stds = zip(*(self._predict(self._tensor(image), origin=origin) for image in lr), strict=True)
        return _as_batch(means), _as_batch(stds)

    def reconstruct(self, hr: np.ndarray) -> np.ndarray:
        """The truth (C, H, W) through the autoencoder and back, nothing else."""
        with torch.inference_mode():
            return self.gae(self._tensor(hr))[0].float().cpu().numpy()  # type: ignore[no-any-return]

    def ceiling(self, lr: np.ndarray, hr: np.ndarray) -> np.ndarray:
        """What the model would give if its sampled latent were perfect; needs the ground truth.

        Args:
            lr: (C, h, w).
            hr: (C, H, W).

        Returns:
            (C, H, W) float32.
        """
        with torch.inference_mode():
            result = self._finish(self.gae.encode(self._tensor(hr)), self._start(self._tensor(lr)))
        return result[0].float().cpu().numpy()

    def _tensor(self, image: np.ndarray) -> Tensor:
        # A copy: torch takes neither read-only nor turned arrays.
        return torch.from_numpy(np.array(image[None], dtype=np.float32)).to(self.gae.latent_mean.device)

    def _predict(self, lr: Tensor, *, origin: tuple[int, int]) -> tuple[Tensor, Tensor]:
        given = self._start(lr)
        row, column = origin
        place = (row * self.scale, column * self.scale)
        draws = (
            self.net.sample(given.z_lr, sampling=self.sampling, origin=place, number=number)
            for number in range(self.samples)
        )
        std = self.gae.residual_std[self.gae.groups]
        return moments(self._finish(self.net.latent(x0, given.z_lr, std), given) for x0 in draws)

    def _start(self, lr: Tensor) -> _Input:
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        resampler = Resampler(height, width, scale=self.scale, like=lr, psf=self.net.psf)
        up = resampler.up(lr)
        z_lr = self.gae.encode(up)
        return _Input(lr, up, z_lr, self.gae.decode(z_lr) if self.sampling.residual_decode else None, resampler)

    def _finish(self, z: Tensor, given: _Input) -> Tensor:
        sr = self.gae.decode(z)
        if given.decoded is not None:
            sr = given.up + (sr - given.decoded)
        return back_project(sr, given.lr, resampler=given.resampler, iterations=self.sampling.consistency)


def _as_batch(images: Sequence[Tensor]) -> np.ndarray:
    return np.concatenate([image.float().cpu().numpy() for image in images])


def load_gae(folder: Path) -> GroupAutoencoder:
    """The trained autoencoder of a GaeCheckpoint.

    Raises:
        MissingInputError: The folder holds no checkpoint.
        IntegrityError: A file is corrupt.
    """
    return load_module(folder, GroupAutoencoder.from_config)


def load_latent_net(folder: Path) -> LatentNet:
    """The trained latent network of a DiffusionCheckpoint or RegressionCheckpoint.

    Raises:
        MissingInputError: The folder holds no checkpoint.
        IntegrityError: A file is corrupt.
    """
    return load_module(folder, LatentNet.from_config)
