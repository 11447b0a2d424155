"""The networks of the posterior: the scale of the residual, and the diffusion in units of it."""

from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from hsipipe.diffusion.noise import Noise
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.diffusion.schedules import make_schedule
from hsipipe.diffusion.targets import diffuse, to_x0, training_target
from hsipipe.methods.losses import at_valid
from hsipipe.methods.networks.unet import Unet
from hsipipe.params import UnetParams

_LOWEST, _HIGHEST = -5.0, 4.0
"""Range of the logarithm of the scale."""
_MOST = 8.0
"""Largest scaled residual that the diffusion is trained on; the tails are heavy."""
_TARGET: Literal["v"] = "v"
"""The predicted quantity. Zero is the exact answer for a standard normal x_0, so that an untrained diffusion samples
the heteroscedastic regression."""


class Draw(NamedTuple):
    """Random numbers of a training step: noise (B, k, H, W) and gamma (B,)."""

    noise: Tensor
    gamma: Tensor


class PosteriorNetwork(nn.Module):
    """Scale and diffusion of the residual, both on the HR grid.

    The diffused x_0 is the residual divided by its predicted scale: of unit variance everywhere, so that one noise
    schedule fits flat and textured areas (the pattern of CorrDiff, arXiv 2309.15214, with a scale head).

    Args:
        components: Coordinates k of the residual.
        conditions: Channels of the condition.
        scale: Sizes of the scale's network.
        diffusion: Sizes of the diffusion's network; None: the scale alone.
        patch: Edge of a training patch.
        steps: Timesteps T.
    """

    def __init__(
        self,
        components: int,
        conditions: int,
        *,
        scale: UnetParams,
        diffusion: UnetParams | None,
        patch: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.schedule = make_schedule("cosine", steps)
        self.scale = Unet(components, scale, patch=patch, condition_channels=conditions)
        self.diffusion = None
        if diffusion is not None:
            self.diffusion = Unet(components, diffusion, patch=patch, condition_channels=conditions + components)
        for network in self.children():
            # Training starts from the mean scale, and from the samples of a normal distribution.
            nn.init.zeros_(cast(Any, network).tail[-1].weight)
            nn.init.zeros_(cast(Any, network).tail[-1].bias)

    def forward(self, condition: Tensor, residual: Tensor, draw: Draw, valid: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch: the scale's normal negative log-likelihood plus the error of the diffusion.

        Args:
            condition: (B, c, H, W).
            residual: Coordinates (B, k, H, W).
            draw: Noise and noise levels.
            valid: Pixels with data, for :func:`hsipipe.methods.losses.at_valid`; None: all.
        """
        log_scale = self.log_scale(condition)
        terms = (residual * torch.exp(-log_scale)).square() / 2 + log_scale
        loss = at_valid(terms, torch.zeros_like(terms), valid).mean()
        if self.diffusion is None:
            return loss
        scale = log_scale.detach()
        x0 = (residual * torch.exp(-scale)).clamp(-_MOST, _MOST)
        noisy = diffuse(x0, draw.noise, draw.gamma)
        prediction = self.diffusion(noisy, torch.cat([condition, scale], dim=1), draw.gamma.sqrt())
        target = training_target(_TARGET, x0=x0, noise=draw.noise, gamma=draw.gamma)
        error: Tensor = (at_valid(prediction, target, valid) - target).square().mean()
        return loss + error

    def log_scale(self, condition: Tensor) -> Tensor:
        """Predict the logarithm of the standard deviation of each coordinate, (B, k, H, W)."""
        none = condition.new_zeros(len(condition), self.scale.channels, *condition.shape[2:])
        log: Tensor = self.scale(none, condition, condition.new_zeros(len(condition)))
        return log.clamp(_LOWEST, _HIGHEST)

    def sample(self, condition: Tensor, log_scale: Tensor, noise: Noise, *, sampler: str, steps: int) -> Tensor:
        """Sample the residual in units of its scale, (B, k, H, W)."""
        if self.diffusion is None:
            return noise(0)
        network, given = self.diffusion, torch.cat([condition, log_scale], dim=1)

        def denoise(x_t: Tensor, gamma: Tensor) -> Tensor:
            return to_x0(_TARGET, network(x_t, given, gamma.sqrt()), x_t=x_t, gamma=gamma)

        return SAMPLERS[sampler](denoise, noise, schedule=self.schedule, steps=steps)
