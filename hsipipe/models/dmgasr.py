"""DMGASR (arXiv 2402.17285): group autoencoder + latent diffusion, as one super-resolver."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from hsipipe.artifacts import DiffusionCheckpoint, GaeCheckpoint, RegressionCheckpoint
from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.diffusion.consistency import Resampler, back_project
from hsipipe.diffusion.noise import scene_noise
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.diffusion.schedules import NoiseSchedule, make_schedule
from hsipipe.diffusion.targets import Target, to_x0
from hsipipe.models.base import check_input
from hsipipe.models.checkpoint import load_module, save_checkpoint
from hsipipe.models.gae import GroupAutoencoder
from hsipipe.models.unet import Unet
from hsipipe.params import SamplingParams

KIND = "dmgasr"
Objective = Literal["diffusion", "regression"]


class LatentNet(nn.Module):
    """The network in latent space with what is needed to use it: schedule, space and target.

    Groups lie in the batch dimension. In the `residual` space the clean image is the HR minus the LR
    latent over its standard deviation, so that zero is the LR latent itself.

    Args:
        unet: The network.
        objective: `regression` is the control: one evaluation on zeros instead of noise.
        schedule: Name of the noise schedule.
        steps: T.
        space: What is diffused.
        target: What the network predicts.
        scale_input: Multiply the noisy image by sqrt(gamma). Where there is only noise left, the network then
            sees nothing of it and acts as a regression, instead of spending capacity on ignoring it.
        scale: Ratio s that it was trained for.
        psf: PSF of the LR images that it was trained for.
    """

    def __init__(
        self,
        unet: Unet,
        *,
        objective: Objective,
        schedule: str,
        steps: int,
        space: Literal["residual", "latent"],
        target: Target,
        scale_input: bool,
        scale: int,
        psf: Psf = BICUBIC,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.objective: Objective = objective
        self.schedule_name, self.steps = schedule, steps
        self.schedule: NoiseSchedule = make_schedule(schedule, steps)
        self.space, self.target, self.scale = space, target, scale
        self.scale_input = scale_input
        self.psf = psf

    def config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs to build the same module."""
        return {
            "unet": self.unet.config(),
            "objective": self.objective,
            "schedule": self.schedule_name,
            "steps": self.steps,
            "space": self.space,
            "target": self.target,
            "scale_input": self.scale_input,
            "scale": self.scale,
            "psf": asdict(self.psf),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LatentNet":
        """Build a network without trained weights."""
        rest = {name: value for name, value in config.items() if name not in ("unet", "psf")}
        return cls(Unet.from_config(config["unet"]), psf=Psf(**config["psf"]), **rest)

    def clean(self, z_hr: Tensor, z_lr: Tensor, residual_std: Tensor) -> Tensor:
        """x_0 of the diffusion, from whitened latents (B, G, k, H, W)."""
        return (z_hr - z_lr) / residual_std if self.space == "residual" else z_hr

    def latent(self, x0: Tensor, z_lr: Tensor, residual_std: Tensor) -> Tensor:
        """The HR latent of x_0; inverse of :meth:`clean`."""
        return z_lr + x0 * residual_std if self.space == "residual" else x0

    def forward(self, noisy: Tensor, z_lr: Tensor, gamma: Tensor) -> Tensor:
        """The network's raw prediction.

        Args:
            noisy: (B, G, k, H, W).
            z_lr: (B, G, k, H, W).
            gamma: (B,).

        Returns:
            (B, G, k, H, W).
        """
        groups = noisy.shape[1]
        level = gamma.sqrt().repeat_interleave(groups)
        x = noisy.flatten(0, 1)
        if self.scale_input:
            x = x * level[:, None, None, None]
        out = self.unet(x, z_lr.flatten(0, 1), level)
        return cast(Tensor, out.reshape(noisy.shape))

    def sample(self, z_lr: Tensor, *, sampling: SamplingParams, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """x_0 given the LR latent (B, G, k, H, W).

        All images of a batch get the same noise, that of their place in the scene, so that a prediction
        depends neither on its neighbours in the batch nor on how a scene was cut.

        Args:
            z_lr: Whitened latent of the interpolated LR input.
            sampling: Sampler and steps.
            origin: HR row and column of the images in their scene.
        """
        if self.objective == "regression":
            return cast(Tensor, self(torch.zeros_like(z_lr), z_lr, z_lr.new_zeros(len(z_lr))))

        def denoise(x_t: Tensor, gamma: Tensor) -> Tensor:
            return to_x0(self.target, self(x_t, z_lr, gamma), x_t=x_t, gamma=gamma)

        groups, channels, height, width = z_lr.shape[1:]

        def noise(draw: int) -> Tensor:
            window = (*origin, height, width)
            drawn = scene_noise(groups * channels, window=window, seed=sampling.seed, draw=draw)
            return drawn.reshape(z_lr.shape[1:]).to(z_lr).expand_as(z_lr)

        return SAMPLERS[sampling.sampler](denoise, noise, schedule=self.schedule, steps=sampling.steps)


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
    def nfe(self) -> int:
        """Network evaluations per image."""
        if self.net.objective == "regression":
            return 1
        return len(self.net.schedule.timesteps(self.sampling.steps))

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
            sampling=SamplingParams.model_validate(config["sampling"]),
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

    def predict(self, lr: np.ndarray, *, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Super-resolve a batch.

        Args:
            lr: (B, C, h, w) float32, scaled as in training (reflectance in 0..1).
            origin: LR row and column of the images in their scene.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, band count or type, or NaN.
        """
        check_input(lr, bands=self.bands)
        with torch.inference_mode():
            images = [self._predict(self._tensor(image), origin=origin) for image in lr]
        return np.concatenate([image.float().cpu().numpy() for image in images])

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
            lr_tensor = self._tensor(lr)
            result = self._finish(self.gae.encode(self._tensor(hr)), lr_tensor, *self._start(lr_tensor))
        return result[0].float().cpu().numpy()

    def _tensor(self, image: np.ndarray) -> Tensor:
        # A copy: torch takes neither read-only nor turned arrays.
        return torch.from_numpy(np.array(image[None], dtype=np.float32)).to(self.gae.latent_mean.device)

    def _predict(self, lr: Tensor, *, origin: tuple[int, int]) -> Tensor:
        up, z_lr, resampler = self._start(lr)
        row, column = origin
        place = (row * self.scale, column * self.scale)
        x0 = self.net.sample(z_lr, sampling=self.sampling, origin=place)
        return self._finish(self.net.latent(x0, z_lr, self.gae.residual_std), lr, up, z_lr, resampler)

    def _start(self, lr: Tensor) -> tuple[Tensor, Tensor, Resampler]:
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        resampler = Resampler(height, width, scale=self.scale, like=lr, psf=self.net.psf)
        up = resampler.up(lr)
        return up, self.gae.encode(up), resampler

    def _finish(self, z: Tensor, lr: Tensor, up: Tensor, z_lr: Tensor, resampler: Resampler) -> Tensor:
        sr = self.gae.decode(z)
        if self.sampling.residual_decode:
            sr = up + (sr - self.gae.decode(z_lr))
        return back_project(sr, lr, resampler=resampler, iterations=self.sampling.consistency)


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
