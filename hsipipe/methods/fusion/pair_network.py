"""A denoising network conditioned on an image pair: sensors, statistics of a scene, condition, x_0 and cube."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.degradation.estimate import estimate_response, fit_response
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import PairObservation, Resampler, detail_moments, disagreement, spectral_gain
from hsipipe.diffusion.schedules import make_schedule
from hsipipe.methods.base import as_tensor
from hsipipe.methods.fusion.scene_pixels import ScenePixels, scene_pixels
from hsipipe.methods.fusion.setup import Denoising, Given, Pairing, Scene
from hsipipe.methods.fusion.subspace import Subspace, estimate_subspace, subspace_of
from hsipipe.methods.super_resolver import SceneImage


class PairNetwork(nn.Module, ABC):
    """A network conditioned on an LR-HSI and an HR-MSI; the subclass defines x_0.

    Args:
        pairing: The sensors.
        denoising: Task of the network.
        channels: Number of channels of x_0.
        response: Spectral response R (c, C) of the training pairs.
    """

    directions: int = 1
    """Number of directions of the scene's spectral subspace."""
    response: Tensor

    def __init__(
        self,
        pairing: Pairing,
        denoising: Denoising,
        *,
        channels: int,
        response: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        super().__init__()
        self.pairing, self.denoising, self.channels = pairing, denoising, channels
        self.scale = pairing.scale
        self.schedule = make_schedule(denoising.schedule, denoising.steps)
        self._scene: Scene | None = None
        start = np.zeros((pairing.msi_bands, pairing.bands)) if response is None else response
        self.register_buffer("response", torch.from_numpy(np.asarray(start, dtype=np.float32)))

    @abstractmethod
    def condition(self, pair: PairObservation, subspace: Subspace) -> Given:
        """Compute the condition of the network from a pair."""

    @abstractmethod
    def clean(self, hr: Tensor, given: Given) -> Tensor:
        """Compute x_0 (B, channels, H, W) from the truth (B, C, H, W)."""

    @abstractmethod
    def cube(self, x0: Tensor, given: Given) -> Tensor:
        """Compute the cube (B, C, H, W) from x_0; inverse of :meth:`clean` as far as x_0 can represent the cube."""

    @abstractmethod
    def denoise(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """Apply the network: x_t (B, channels, H, W), condition (B, k, H, W) and sqrt(gamma) (B,) to its target."""

    @abstractmethod
    def net_config(self) -> dict[str, Any]:
        """Return the arguments of :meth:`build` in addition to the sensors and the denoising."""

    @classmethod
    @abstractmethod
    def build(cls, pairing: Pairing, denoising: Denoising, net: dict[str, Any]) -> Self:
        """Build a model without trained weights; inverse of :meth:`net_config`."""

    @classmethod
    @abstractmethod
    def made_for(cls, pairing: Pairing, settings: Any, response: NDArray[np.float64], *, patch: int) -> Self:
        """Build a model with initial weights.

        Args:
            pairing: The sensors.
            settings: An instance of `Settings`.
            response: Spectral response (c, C).
            patch: Edge of a training patch in HR pixels.
        """

    @property
    def bands(self) -> int | None:
        """Bands C that it was made for; None: any number."""
        return self.pairing.bands

    @property
    def msi_bands(self) -> int | None:
        """Bands c of the HR-MSI that it fuses; None: any number."""
        return self.pairing.msi_bands

    @property
    def psf(self) -> Psf:
        """PSF of the LR-HSI's sensor."""
        return self.pairing.psf

    def for_scene(self, lr: SceneImage, msi: SceneImage) -> Self:
        """Return a copy that shares the weights, bound to a scene: all its tiles share one subspace and one response.

        Args:
            lr: (C, h, w), read once by rows.
            msi: (c, H, W), read once by rows.
        """
        return self.for_pixels(scene_pixels(lr, msi, scale=self.scale, psf=self.psf))

    def for_pixels(self, scene: ScenePixels) -> Self:
        """As :meth:`for_scene`, by the pixels of the scene."""
        other = copy(self)
        other._scene = self._scene_of(scene)
        return other

    def forward(self, noisy: Tensor, condition: Tensor, gamma: Tensor) -> Tensor:
        """Compute the network's raw prediction.

        Args:
            noisy: x_t (B, channels, H, W).
            condition: (B, k, H, W).
            gamma: (B,).

        Returns:
            (B, channels, H, W).
        """
        level = gamma.sqrt()
        if self.denoising.scale_input:
            noisy = noisy * level[:, None, None, None]
        return self.denoise(noisy, condition, level)

    def denoiser(self, condition: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the network under one condition, x_t and gamma to its raw prediction, for many sampling steps."""

        def denoise(noisy: Tensor, gamma: Tensor) -> Tensor:
            return cast(Tensor, self(noisy, condition, gamma))

        return denoise

    def given(self, lr: Tensor, msi: Tensor) -> Given:
        """Compute the condition for a batch of pairs (B, C, h, w) and (B, c, H, W)."""
        scene = self._scene or self._learn(lr, msi)
        return self.condition(self._pair(lr, msi, scene), scene.subspace)

    def observation(self, lr: Tensor, msi: Tensor) -> PairObservation:
        """Return a batch of pairs (B, C, h, w), (B, c, H, W) with the projection onto the cubes consistent with it."""
        return self._pair(lr, msi, self._scene or self._learn(lr, msi))

    def _pair(self, lr: Tensor, msi: Tensor, scene: Scene) -> PairObservation:
        return PairObservation(lr, msi, self._resampler(msi), scene.response, scene.gain)

    def tensor(self, image: np.ndarray) -> Tensor:
        """Convert (C, H, W) to a batch of one on the device of the model."""
        return as_tensor(image, like=self.response)

    def _learn(self, lr: Tensor, msi: Tensor) -> Scene:
        response, subspace = self._response_for(lr, msi), estimate_subspace(lr, self.directions)
        noise = disagreement(lr, msi, resampler=self._resampler(msi), response=response)
        return Scene(response, spectral_gain(response, detail_moments(lr), noise), subspace)

    def _scene_of(self, scene: ScenePixels) -> Scene:
        """As :meth:`_learn`, by the pixels of a whole scene."""
        known = self._known_response(len(scene.spectra), len(scene.low), pixels=scene.count)
        found = fit_response(scene.spectra, scene.low) if known is None else known.double().cpu().numpy()
        mean, covariance, moments, noise = (
            torch.from_numpy(values)[None]
            for values in (
                scene.mean(scene.spectra)[:, 0],
                scene.moments(scene.centred(scene.spectra)),
                scene.detail,
                scene.moments(scene.low - found @ scene.spectra),
            )
        )
        response = torch.from_numpy(found).to(self.response) if known is None else known
        gain = spectral_gain(response.cpu(), moments, noise).to(response)
        return Scene(response, gain, subspace_of(mean, covariance, self.directions, like=self.response))

    def _resampler(self, msi: Tensor) -> Resampler:
        return Resampler(msi.shape[2], msi.shape[3], scale=self.scale, like=msi, psf=self.psf)

    def _response_for(self, lr: Tensor, msi: Tensor) -> Tensor:
        known = self._known_response(lr.shape[1], msi.shape[1], pixels=lr.shape[2] * lr.shape[3])
        if known is not None:
            return known
        low, high = (image[0].double().cpu().numpy() for image in (lr, msi))
        estimated = estimate_response(low, high, scale=self.scale, psf=self.psf)
        return torch.from_numpy(estimated).to(lr)

    def _known_response(self, bands: int, msi_bands: int, *, pixels: int) -> Tensor | None:
        """Return the response of the model; None: it is to be estimated from the pair."""
        fits = self.response.shape == (msi_bands, bands)
        # With as many weights as pixels, any image could be fitted.
        tells = pixels > bands
        return self.response if fits and (self.training or self.pairing.response == "given" or not tells) else None
