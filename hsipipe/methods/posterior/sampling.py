"""A regression and the samples of its error: prediction, samples, sharp mode."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import Resampler
from hsipipe.diffusion.noise import noise_of_sample, scene_noise
from hsipipe.errors import ModelInputError, ParamsError
from hsipipe.methods.base import Frame, Method, Trainable, as_tensor
from hsipipe.methods.posterior.frame import ResidualFrame
from hsipipe.methods.posterior.network import PosteriorNetwork
from hsipipe.methods.posterior.settings import PosteriorSettings
from hsipipe.methods.samples import moments
from hsipipe.methods.super_resolver import SensorResolver, check_input
from hsipipe.params import SamplingParams

_OUTSIDE = 1 << 20
"""Number of the noise image of what is outside of the components; no sampler draws as many."""

_ROUNDS = 4
"""Projections onto the observations and onto the range, in turn."""


class Image(NamedTuple):
    """An image that samples are drawn of.

    Attributes:
        lr: (1, C, h, w).
        msi: (1, c, H, W), or None.
        prediction: (1, C, H, W).
        condition: Condition of the networks.
        log_scale: Predicted scale of each coordinate, (1, k, H, W).
        level: The same of each pixel, (1, 1, H, W).
        resampler: Resampler of its size.
    """

    lr: Tensor
    msi: NDArray[np.float32] | None
    prediction: Tensor
    condition: Tensor
    log_scale: Tensor
    level: Tensor
    resampler: Resampler


class SampledRegression(nn.Module, Trainable):
    """Prediction and samples of a :class:`hsipipe.methods.posterior.method.Posterior`.

    Args:
        mean: The regression; it is not trained.
        frame: The sensors.
        parts: Coordinates of the residual.
        spread: Networks of scale and diffusion.
        settings: Settings of the training, or the part of them that predictions need.
    """

    sampling: SamplingParams | None = None
    interval: Tensor
    cap: Tensor
    sharp_noise: Tensor
    _own_sensor = True

    def __init__(
        self, mean: Method, frame: Frame, parts: ResidualFrame, spread: PosteriorNetwork, settings: PosteriorSettings
    ) -> None:
        super().__init__()
        self.mean, self.frame, self.scale, self.settings = mean, frame, frame.scale, settings
        self.parts, self.spread = parts, spread
        # Factor on the width of all intervals, by which they cover as many values of the validation as they should.
        self.register_buffer("interval", torch.ones(()))
        # Largest error that is predicted for a pixel, in units of :meth:`ResidualFrame.level`: few training pixels have
        # the largest errors, and beyond them the network extrapolates an exponential.
        self.register_buffer("cap", torch.tensor(torch.inf))
        # Noise of the sharp mode; see :meth:`calibrate`.
        self.register_buffer("sharp_noise", torch.tensor(0.5))
        self.eval().requires_grad_(False)

    @property
    def bands(self) -> int | None:
        """Bands C that its regression takes; None: any number, and samples of those of the training alone."""
        return self.mean.bands

    @property
    def msi_bands(self) -> int | None:
        """Bands c of the HR-MSI that its regression takes."""
        return self.mean.msi_bands

    @property
    def wavelength_nm(self) -> tuple[float, ...] | None:
        """Band centres (C,) of the sensor that its regression serves; None: bands are identified by their number."""
        mean = self.mean
        return mean.wavelength_nm if isinstance(mean, SensorResolver) else None

    @property
    def psf(self) -> Psf:
        """PSF of the LR images that it is trained for."""
        return self.frame.psf

    @property
    def nfe(self) -> int:
        """Network evaluations of a prediction."""
        return self.mean.nfe + (self._sampling.sharp.steps if self._is_sharp else 0)

    @property
    def varies(self) -> bool:
        """False in the sharp mode, and for a sensor that it was not trained for: there it predicts alone."""
        return self._sampling.mode == "mean" and self._own_sensor

    @property
    def averages(self) -> bool:
        """False: a prediction is that of the regression."""
        return False

    @property
    def can_be_sharp(self) -> bool:
        """True if it has a diffusion, which the sharp mode needs."""
        return self.spread.diffusion is not None

    @property
    def sample_nfe(self) -> int:
        """Network evaluations of a sample, in addition to those of the prediction."""
        return 0 if self.spread.diffusion is None else len(self.spread.schedule.timesteps(self._sampling.steps))

    @property
    def interval_scale(self) -> float:
        """Factor on the width of all intervals, from the validation."""
        return float(self.interval)

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> Self:
        """Return a copy whose regression serves another sensor; it draws no samples for other bands.

        Raises:
            ModelInputError: The regression identifies bands by their number, or does not support these.
        """
        if not isinstance(self.mean, SensorResolver):
            raise ModelInputError(f"{self.mean.name} identifies bands by their number; take cubes of its bands.")
        other = self._sharing()
        other.mean = cast(Method, self.mean.for_wavelengths(wavelength_nm))
        other._own_sensor = cast(SensorResolver, other.mean).wavelength_nm == self.mean.wavelength_nm
        return other

    def with_mean(self, mean: Method) -> Self:
        """Return a copy that shares the weights, with its regression bound to a scene or to other sensors."""
        other = self._sharing()
        other.mean = mean
        return other

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights, with predictions and samples made by `sampling`."""
        other = self._sharing()
        other.sampling, other.mean = sampling, self.mean.prepared(sampling)
        return other

    def predict(
        self, lr: NDArray[np.float32], *, msi: NDArray[np.float32] | None = None, origin: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Super-resolve a batch; see :meth:`SuperResolver.predict`.

        The prediction is that of the regression. In the mode `sharp` it is one image of the diffusion from less noise
        in few steps, which lies between the regression and a sample.
        """
        if not self._is_sharp:
            return self.mean.predict(lr, msi=msi, origin=origin)
        sharp = self._sampling.sharp
        noise = float(self.sharp_noise) if sharp.noise is None else sharp.noise
        images = self._images(lr, msi, origin)
        return next(self._draws(images, origin, count=1, steps=sharp.steps, noise=noise))

    def draw(
        self,
        lr: NDArray[np.float32],
        *,
        count: int,
        msi: NDArray[np.float32] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> Iterator[NDArray[np.float32]]:
        """Draw samples of a batch; see :meth:`SampleResolver.draw`."""
        if not self.varies:
            raise ModelInputError(
                f"{self.name} draws no samples in the sharp mode or of another sensor; set sampling.mode to mean, and "
                "take cubes of the wavelengths of its training."
            )
        return self._draws(self._images(lr, msi, origin), origin, count=count, steps=self._sampling.steps)

    def predict_with_spread(
        self,
        lr: NDArray[np.float32],
        *,
        count: int,
        msi: NDArray[np.float32] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the prediction and the standard deviation of samples; see :meth:`SampleResolver`."""
        images = self._images(lr, msi, origin)
        std = moments(self._draws(images, origin, count=count, steps=self._sampling.steps))[1]
        return np.concatenate([image.prediction.cpu().numpy() for image in images]), std

    def _images(self, lr: NDArray[np.float32], msi: NDArray[np.float32] | None, origin: tuple[int, int]) -> list[Image]:
        check_input(lr, bands=self.frame.bands, remedy="samples are of the bands of the training alone")
        predictions = self.mean.predict(lr, msi=msi, origin=origin)
        with torch.inference_mode():
            return [
                self._image(as_tensor(low, like=self.interval), None if msi is None else msi[None, number], sr)
                for number, (low, sr) in enumerate(zip(lr, predictions, strict=True))
            ]

    def _image(self, lr: Tensor, msi: NDArray[np.float32] | None, prediction: NDArray[np.float32]) -> Image:
        sr, resampler = as_tensor(prediction, like=lr), self._resampler(lr)
        condition = self.parts.condition(sr, resampler.up(lr))
        log_scale = self.spread.log_scale(condition)
        return Image(lr, msi, sr, condition, log_scale, self.parts.level(log_scale), resampler)

    def _draws(
        self, images: list[Image], origin: tuple[int, int], *, count: int, steps: int, noise: float = 1.0
    ) -> Iterator[NDArray[np.float32]]:
        place = (origin[0] * self.scale, origin[1] * self.scale)
        for number in range(count):
            with torch.inference_mode():
                samples = [self._sample(image, place, number, steps, noise).float().cpu().numpy() for image in images]
            yield np.concatenate(samples)

    def _sample(self, image: Image, place: tuple[int, int], number: int, steps: int, size: float) -> Tensor:
        sampling, like = self._sampling, image.log_scale
        draws = noise_of_sample(like, origin=place, seed=sampling.seed, number=number, draws=self.spread.schedule.steps)
        x0 = self.spread.sample(
            image.condition, like, lambda draw: size * draws(draw), sampler=sampling.sampler, steps=steps
        )
        window = (*place, *image.prediction.shape[2:])
        white = scene_noise(self.frame.bands, window=window, seed=sampling.seed, draw=_OUTSIDE + number).to(like)
        rest = size * self.parts.outside * (2 * like).exp().mean(dim=1, keepdim=True).sqrt() * white
        residual = (self.parts.cube(x0 * like.exp()) + rest) * (self.cap / image.level).clamp(max=1)
        # Values of the baseline are independent of each other, which no consistent ones are.
        is_projected = sampling.consistency and self.settings.objective == "diffusion"
        return self._possible(residual, image) if is_projected else image.prediction + residual

    def _possible(self, residual: Tensor, image: Image) -> Tensor:
        """Return a sample inside of the range of the training that is about as consistent as the prediction.

        Alternating projections onto both sets: to clip at the end alone would add brightness that no sensor saw. Where
        the prediction leaves the range, a sample may go as far.
        """
        base = image.prediction
        low, high = torch.minimum(self.parts.low, base), torch.maximum(self.parts.high, base)
        for _ in range(_ROUNDS):
            residual = (base + self._unseen(residual, image)).clamp(low, high) - base
        return base + residual

    def _unseen(self, residual: Tensor, image: Image) -> Tensor:
        """Return the part of a residual that the sensor does not see.

        A sample is then as consistent as the prediction. A projection onto the input would take over its noise.
        """
        return residual - image.resampler.back(image.resampler.down(residual))

    def _resampler(self, lr: Tensor) -> Resampler:
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        return Resampler(height, width, scale=self.scale, like=lr, psf=self.psf)

    @property
    def _is_sharp(self) -> bool:
        return self._sampling.mode == "sharp" and self.can_be_sharp

    @property
    def _sampling(self) -> SamplingParams:
        if self.sampling is None:
            raise ParamsError(f"{self.name} has no sampling; set it with prepared(sampling).")
        return self.sampling

    def _sharing(self) -> Self:
        """Return a copy that shares the weights and may get other parts."""
        other = copy(self)
        other._modules, other._buffers = dict(self._modules), dict(self._buffers)
        return other
