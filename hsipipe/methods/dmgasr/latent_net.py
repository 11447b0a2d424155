"""The network in latent space: its condition, its prediction target, and its sampling."""

from dataclasses import asdict
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn

from hsipipe.degradation.psf import BICUBIC, Psf
from hsipipe.diffusion.noise import noise_of_sample
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.diffusion.schedules import NoiseSchedule, make_schedule
from hsipipe.diffusion.targets import Target, to_x0
from hsipipe.methods.base import Frame
from hsipipe.methods.networks.unet import Unet
from hsipipe.params import SamplingParams

Objective = Literal["diffusion", "regression"]

_MOST = 6.0
"""Largest whitened latent, in standard deviations of the training, that the network sees as its condition."""
_SILENT = 1e-6
"""Remaining share of the signal power below which `scale_input` suppresses the noise completely."""


class LatentNet(nn.Module):
    """The network in latent space, with its noise schedule, diffused quantity and prediction target.

    Groups are stacked in the batch dimension. In the `residual` space the clean image x_0 is the difference of HR and
    LR latent divided by its standard deviation, so that zero is the LR latent.

    Args:
        unet: The network.
        objective: `regression` is the trained baseline: one evaluation on zeros instead of noise.
        schedule: Name of the noise schedule.
        steps: Number of timesteps T.
        space: The diffused quantity.
        target: The quantity that the network predicts.
        scale_input: Multiply the noisy image by sqrt(gamma). At a noise level of pure noise the input is then zero and
            the network acts as a regression, instead of spending capacity on ignoring the noise.
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

    @classmethod
    def untrained(cls, channels: int, settings: Any, frame: Frame) -> Self:
        """Build a network for latents of this many channels, with initial weights."""
        return cls(
            Unet(channels, settings.unet, patch=frame.patch),
            objective=settings.objective,
            schedule=settings.schedule,
            steps=settings.steps,
            space=settings.space,
            target=settings.target,
            scale_input=settings.scale_input,
            scale=frame.scale,
            psf=frame.psf,
        )

    def config(self) -> dict[str, Any]:
        """Return the configuration from which :meth:`from_config` builds the same module."""
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
        """Compute x_0 of the diffusion from whitened latents (B, G, k, H, W)."""
        return (z_hr - z_lr) / residual_std if self.space == "residual" else z_hr

    def latent(self, x0: Tensor, z_lr: Tensor, residual_std: Tensor) -> Tensor:
        """Compute the HR latent from x_0; inverse of :meth:`clean`."""
        return z_lr + x0 * residual_std if self.space == "residual" else x0

    def forward(self, noisy: Tensor, z_lr: Tensor, gamma: Tensor) -> Tensor:
        """Compute the network's raw prediction.

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
        # Spectra that the training lacks have latents far outside of it.
        out = self.unet(x, z_lr.flatten(0, 1).clamp(-_MOST, _MOST), level)
        return cast(Tensor, out.reshape(noisy.shape))

    def varies(self, sampling: SamplingParams) -> bool:
        """Return True if samples differ from each other.

        They do not for a regression, which has no noise, nor for a single evaluation with `scale_input` and a schedule
        that ends in pure noise: the noise is then multiplied by sqrt(gamma_T), which is almost zero.
        """
        hidden = self.scale_input and float(self.schedule.gammas[-1]) < _SILENT
        return self.objective == "diffusion" and not (hidden and len(self.schedule.timesteps(sampling.steps)) == 1)

    def sample(
        self, z_lr: Tensor, *, sampling: SamplingParams, origin: tuple[int, int] = (0, 0), number: int = 0
    ) -> Tensor:
        """Sample x_0 given the LR latent (B, G, k, H, W).

        All images of a batch get the same noise, tied to their position in the scene. A prediction thus depends
        neither on the other images of the batch nor on the tiling.

        Args:
            z_lr: Whitened latent of the interpolated LR input.
            sampling: Sampler and steps.
            origin: HR row and column of the images in their scene.
            number: Index of the independent sample, from 0.
        """
        if self.objective == "regression":
            return cast(Tensor, self(torch.zeros_like(z_lr), z_lr, z_lr.new_zeros(len(z_lr))))

        def denoise(x_t: Tensor, gamma: Tensor) -> Tensor:
            return to_x0(self.target, self(x_t, z_lr, gamma), x_t=x_t, gamma=gamma)

        # No sampler draws more noise images than there are timesteps.
        noise = noise_of_sample(z_lr, origin=origin, seed=sampling.seed, number=number, draws=self.schedule.steps)
        return SAMPLERS[sampling.sampler](denoise, noise, schedule=self.schedule, steps=sampling.steps)
