"""The coordinates of the posterior: components of the residual's spectra, and the condition of the networks."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.methods.networks.layers import window_mean
from hsipipe.patches.sample import pixels_of

_MOST = 8.0
"""Largest coordinate that the networks see, in standard deviations of the training."""
_WINDOW = 5
"""Edge in pixels of the window of the activity."""
_FLOOR = 1e-4
"""Added before a logarithm."""
_LEAST = 0.05
"""Smallest standard deviation of a component of the prediction, relative to the largest, that is whitened."""


class Residual(NamedTuple):
    """A batch of residuals for the statistics of the frame: prediction, interpolation and truth (B, C, H, W).

    `valid` has the pixels with data (B, H, W), None: all.
    """

    prediction: Tensor
    up: Tensor
    hr: Tensor
    valid: NDArray[np.bool_] | None = None


class ResidualFrame(nn.Module):
    """Orthonormal components of the spectra of the residual, and those of the prediction.

    Args:
        bands: Bands C.
        components: Components k of the residual.
        condition: Components j of the prediction.
    """

    basis: Tensor
    rms: Tensor
    outside: Tensor
    mean: Tensor
    spectra: Tensor
    spectra_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, bands: int, components: int, condition: int) -> None:
        super().__init__()
        k, j = min(components, bands), min(condition, bands)
        self.register_buffer("basis", torch.zeros(k, bands))
        self.register_buffer("rms", torch.ones(k, 1, 1))
        self.register_buffer("outside", torch.zeros(bands, 1, 1))
        self.register_buffer("mean", torch.zeros(bands, 1, 1))
        self.register_buffer("spectra", torch.zeros(j, bands))
        self.register_buffer("spectra_std", torch.ones(j, 1, 1))
        # The range of the truths of the training, which samples keep to; none before :meth:`limit`.
        self.register_buffer("low", torch.tensor(-torch.inf))
        self.register_buffer("high", torch.tensor(torch.inf))

    @property
    def components(self) -> int:
        """Components k of the residual."""
        return len(self.basis)

    @property
    def conditions(self) -> int:
        """Channels of :meth:`condition`."""
        return 2 * (len(self.spectra) + len(self.basis)) + 1

    @torch.no_grad()
    def measure(self, batches: Iterable[Residual]) -> None:
        """Compute the components and their scales from training patches."""
        moments, count = _Sums(), 0
        for batch in batches:
            images = (batch.hr - batch.prediction, batch.prediction)
            rest, spectra = (pixels_of(image, batch.valid).double().cpu() for image in images)
            moments.add(rest, spectra)
            count += len(rest)
        variance, basis = _components(moments.rest / count, self.components)
        self.basis.copy_(basis)
        self.rms.copy_(variance.sqrt().clamp_min(1e-6).reshape(-1, 1, 1))
        inside = basis.T @ torch.diag(variance) @ basis
        left = (moments.rest / count - inside).diagonal().clamp_min(0)
        self.outside.copy_(left.sqrt().reshape(-1, 1, 1))
        mean = moments.total / count
        variance, spectra = _components(moments.spectra / count - torch.outer(mean, mean), len(self.spectra))
        self.mean.copy_(mean.reshape(-1, 1, 1))
        self.spectra.copy_(spectra)
        std = variance.clamp_min(0).sqrt()
        self.spectra_std.copy_(std.clamp_min(max(1e-6, _LEAST * float(std.max()))).reshape(-1, 1, 1))

    def limit(self, ranges: Iterable[tuple[float, float]]) -> None:
        """Set the range that samples keep to, from the least and the largest value of training patches."""
        lows, highs = zip(*ranges, strict=True)
        self.low.fill_(min(lows))
        self.high.fill_(max(highs))

    def coordinates(self, cube: Tensor) -> Tensor:
        """Coordinates (B, k, H, W) of a residual (B, C, H, W), in units of its RMS over the training patches."""
        return torch.einsum("kc,bchw->bkhw", self.basis, cube) / self.rms

    def cube(self, coordinates: Tensor) -> Tensor:
        """The residual (B, C, H, W) of coordinates (B, k, H, W)."""
        return torch.einsum("kc,bkhw->bchw", self.basis, coordinates * self.rms)

    def level(self, log_scale: Tensor) -> Tensor:
        """Root of the summed squared scales of the bands of each pixel, (B, 1, H, W), of log scales (B, k, H, W)."""
        return (log_scale.exp() * self.rms).square().sum(dim=1, keepdim=True).sqrt()

    def condition(self, prediction: Tensor, up: Tensor) -> Tensor:
        """Condition of the networks: prediction, its difference to the interpolation, their activity, the brightness.

        Errors span decades, from flat dark areas to edges. Activity and brightness are logarithms, since the networks
        could not tell small values from smaller ones.

        Args:
            prediction: (B, C, H, W).
            up: Interpolated input (B, C, H, W).

        Returns:
            (B, 2 (j + k) + 1, H, W).
        """
        spectra = torch.einsum("kc,bchw->bkhw", self.spectra, prediction - self.mean) / self.spectra_std
        added = self.coordinates(prediction - up)
        brightness = prediction.mean(dim=1, keepdim=True).clamp_min(0)
        active = [_logarithm(_smooth(image.square()).sqrt()) for image in (spectra - _smooth(spectra), added)]
        # Spectra that the training lacks would be amplified without bound.
        plain = torch.cat([spectra, added], dim=1).clamp(-_MOST, _MOST)
        return torch.cat([plain, *active, _logarithm(brightness)], dim=1)


def _smooth(image: Tensor) -> Tensor:
    return window_mean(image, _WINDOW)


def _logarithm(image: Tensor) -> Tensor:
    """Common logarithm, about -1 to 1 for values of 1e-4 to 1."""
    return (image + _FLOOR).log10() / 2 + 1


class _Sums:
    """Second moments of residuals and spectra, and the sum of the spectra, in float64."""

    def __init__(self) -> None:
        self.rest: Any = 0.0
        self.spectra: Any = 0.0
        self.total: Any = 0.0

    def add(self, rest: Tensor, spectra: Tensor) -> None:
        self.rest = self.rest + rest.T @ rest
        self.spectra = self.spectra + spectra.T @ spectra
        self.total = self.total + spectra.sum(dim=0)


def _components(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Variances (k,), largest first, and orthonormal rows (k, C)."""
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0)[:count].clamp_min(0), vectors.flip(1)[:, :count].T
