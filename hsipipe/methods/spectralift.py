"""SpectraLift: a network of single pixels from MSI values to spectra, fitted to the pair."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.estimate import fit_response
from hsipipe.diffusion.consistency import spectral_gain
from hsipipe.methods.fusion.pixel_network import apply_pixels, fit_pixels
from hsipipe.methods.fusion.sampled_pixels import sampled_pixels
from hsipipe.methods.fusion.scene_fitted import INTERPOLATED, SceneFitted
from hsipipe.methods.fusion.whole_scene import mix, pixels, regress
from hsipipe.methods.super_resolver import Batch, SceneImage
from hsipipe.params import Group, Positive

_PIXELS = 16384
"""LR pixels of a scene that the network is fitted to, at most."""
_COMPONENTS = 20
"""Principal components that the network predicts, at most."""
_FLAT = 1e-6
"""Standard deviation, relative to the values, below which a band varies by rounding alone."""


class SpectraliftSettings(Group):
    """Size and fit of the network."""

    width: Positive
    """Features of a layer."""
    layers: Positive
    """Hidden layers."""
    steps: Positive
    """Optimizer steps of the fit of a scene; they bound its time."""
    seed: int
    """Seed of the initial weights and of the pixels."""


@dataclass(frozen=True)
class SpectraliftFit:
    """The fit of a scene.

    Attributes:
        network: Standardised MSI values (n, c) to components (n, p) of what the linear part misses.
        unit: Root mean square of the LR-HSI, the unit of all other values.
        mean: Means (c, 1) of the MSI values of the fit.
        deviation: Their standard deviations (c, 1).
        limits: Their smallest and largest values (2, c, 1).
        weights: Linear part (C, c + 1), the last column for a constant.
        basis: Spectra (C, p) of the components.
        response: Spectral response (c, C).
        gain: Its Wiener inverse (C, c).
    """

    network: nn.Module
    unit: np.float32
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    limits: NDArray[np.float32]
    weights: NDArray[np.float32]
    basis: NDArray[np.float32]
    response: NDArray[np.float32]
    gain: NDArray[np.float32]

    def standardised(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return MSI values (c, n) as inputs (n, c) of the network, within the range of the fit."""
        return np.asarray((np.clip(values, *self.limits) - self.mean) / self.deviation).T

    def spectra(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict spectra (C, n) from MSI values (c, n)."""
        lifted = apply_pixels(self.network, self.standardised(values))
        return np.asarray(self.weights @ _with_one(values) + self.basis @ lifted.T)


@dataclass(frozen=True)
class Spectralift(SceneFitted):
    """Learns on the LR grid to predict a spectrum from its MSI values, and applies that to each pixel of the HR-MSI.

    Source: SpectraLift, arXiv 2507.13339: a perceptron of single pixels is fitted by the L1 error to the LR-HSI, with
    the LR-HSI seen through the spectral response as its input. It needs neither training data nor the truth.

    Against the paper: the network adds to a linear regression, in principal components of what that misses. Pixels held
    out choose its step. With an unknown response, the degraded HR-MSI is its input. The spectra are then made
    consistent with the HR-MSI by a Wiener filter whose prior is the error of the fit, and with the LR-HSI by one
    back-projection. Sizes are those of the settings.

    Attributes:
        width: Features of a layer.
        layers: Hidden layers.
        steps: Optimizer steps of the fit.
        seed: Seed of the initial weights and of the pixels.
    """

    width: int = 64
    layers: int = 2
    steps: int = 2000
    seed: int = 0

    KIND: ClassVar[str] = "spectralift"
    DESCRIPTION: ClassVar[str] = "A per-pixel network fitted to the pair alone (SpectraLift); needs no training data."
    Settings = SpectraliftSettings

    @property
    def context(self) -> int:
        """LR pixels around a part on which its values depend."""
        return math.ceil(self.psf.reach(self.scale) / self.scale) + INTERPOLATED

    def fit_scene(self, lr: SceneImage, msi: SceneImage) -> SpectraliftFit:
        """Fit the network to pixels of a scene, (C, h, w) and (c, H, W), which is read once by rows."""
        sampled = sampled_pixels(lr, msi, scale=self.scale, psf=self.psf, most=_PIXELS, seed=self.seed)
        unit = float(np.sqrt(np.square(sampled[0]).mean())) or 1.0
        spectra, low = (values / unit for values in sampled)
        response = fit_response(spectra, low) if self.response is None else np.asarray(self.response, dtype=np.float64)
        seen = low if self.response is None else response @ spectra
        weights = regress(spectra, on=_with_one(seen))
        missed = spectra - weights @ _with_one(seen)
        basis, components = _principal(missed)
        deviation = seen.std(axis=1, keepdims=True)
        # A band that does not vary tells nothing.
        varies = deviation > _FLAT * np.abs(seen).max(axis=1, keepdims=True)
        mean, deviation = seen.mean(axis=1, keepdims=True), np.where(varies, deviation, np.inf)
        values = ((seen - mean) / deviation).T.astype(np.float32)
        sizes = {"width": self.width, "layers": self.layers, "steps": self.steps, "seed": self.seed}
        network = fit_pixels(values, components.T.astype(np.float32), **sizes)
        missed -= basis @ apply_pixels(network, values).T
        gain = _gain(response, missed, low - response @ spectra)
        limits = np.stack([seen.min(axis=1, keepdims=True), seen.max(axis=1, keepdims=True)])
        arrays = (mean, deviation, limits, weights, basis, response, gain)
        return SpectraliftFit(network, np.float32(unit), *map(_single, arrays))

    def sharpen(self, lr: Batch, msi: Batch, fitted: SpectraliftFit) -> NDArray[np.float32]:
        """Predict the spectra of a part, and make them consistent with both images."""
        seen = msi / fitted.unit
        sr = fitted.spectra(pixels(seen)).reshape(len(lr), *msi.shape[1:])
        sr += mix(fitted.gain, seen - mix(fitted.response, sr))
        sr += upsample(lr / fitted.unit - self.psf.downsample(sr, self.scale), self.scale)
        return sr * fitted.unit


def _with_one(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Append a row of ones to values (c, n)."""
    return np.concatenate([values, np.ones((1, values.shape[1]), dtype=values.dtype)])


def _single(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _principal(missed: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return principal components (C, p) of spectra (C, n) of mean zero, and coordinates (p, n); the largest have 1."""
    _, vectors = np.linalg.eigh(missed @ missed.T)
    basis = vectors[:, ::-1][:, :_COMPONENTS]
    components = basis.T @ missed
    unit = float(components.std(axis=1).max()) or 1.0
    return basis * unit, components / unit


def _gain(
    response: NDArray[np.float64], missed: NDArray[np.float64], disagreement: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the Wiener filter (C, c) by the errors of the fit (C, n) and of the response (c, n)."""
    wide, error, noise = (torch.from_numpy(x) for x in (response, _moments(missed), _moments(disagreement)))
    return spectral_gain(wide, error[None], noise[None])[0].numpy()


def _moments(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values @ values.T / values.shape[1])
