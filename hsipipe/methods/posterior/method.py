"""The posterior of a regression: its prediction, and samples of what it leaves open.

The pattern is that of CorrDiff (arXiv 2309.15214): a regression predicts the mean, and a diffusion samples the
residual, here in units of its predicted scale. The regression is any trained method of the catalogue.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import Resampler
from hsipipe.diffusion.noise import noise_of_sample, scene_noise
from hsipipe.errors import MissingInputError, ModelInputError, ParamsError
from hsipipe.methods.base import Frame, Method, Network, Trainable, TrainingData, as_tensor, validation_psnr_db
from hsipipe.methods.catalogue import kinds, load_model
from hsipipe.methods.checkpoint import load_module, read_config, save_checkpoint
from hsipipe.methods.posterior.frame import Residual, ResidualFrame
from hsipipe.methods.posterior.network import Draw, PosteriorNetwork
from hsipipe.methods.posterior.settings import PosteriorSettings
from hsipipe.methods.samples import INTERVAL, fair_crps, interval_factor, moments
from hsipipe.methods.super_resolver import SensorResolver, check_input
from hsipipe.params import SamplingParams, UnetParams
from hsipipe.patches.draws import Draws
from hsipipe.patches.sample import PATCHES, spread

_NOISE = 2
"""Random stream of noise and noise levels in training."""
_OUTSIDE = 1 << 20
"""Number of the noise image of what is outside of the components; no sampler draws as many."""


class Image(NamedTuple):
    """An image that samples are drawn of: the pair, the prediction (1, C, H, W), the condition and the scale."""

    lr: Tensor
    msi: NDArray[np.float32] | None
    prediction: Tensor
    condition: Tensor
    log_scale: Tensor
    resampler: Resampler


class Posterior(nn.Module, Trainable):
    """A regression and the distribution of its error.

    :meth:`predict` gives the prediction of the regression, so that nobody pays for samples that are not asked for;
    :meth:`draw` gives samples, each consistent with the observations.

    Args:
        mean: The regression; it is not trained.
        frame: The sensors.
        parts: Coordinates of the residual.
        spread: Networks of scale and diffusion.
        settings: Settings of the training, or the part of them that predictions need.
    """

    KIND: ClassVar[str] = "posterior"
    DESCRIPTION: ClassVar[str] = "The prediction of a regression, and samples of what it leaves open."
    Settings = PosteriorSettings
    JUDGED_BY: ClassVar[str] = "val_crps_gain_db"
    sampling: SamplingParams | None = None
    interval: Tensor

    def __init__(
        self, mean: Method, frame: Frame, parts: ResidualFrame, spread: PosteriorNetwork, settings: PosteriorSettings
    ) -> None:
        super().__init__()
        self.mean, self.frame, self.scale, self.settings = mean, frame, frame.scale, settings
        self.parts, self.spread = parts, spread
        # Factor on the width of all intervals, by which they cover as many values of the validation as they should.
        self.register_buffer("interval", torch.ones(()))
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

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> Self:
        """Return a copy whose regression serves another sensor; it draws no samples for other bands.

        Raises:
            ModelInputError: The regression identifies bands by their number, or does not support these.
        """
        if not isinstance(self.mean, SensorResolver):
            raise ModelInputError(f"{self.mean.name} identifies bands by their number; take cubes of its bands.")
        other = self._sharing()
        other.mean = cast(Method, self.mean.for_wavelengths(wavelength_nm))
        return other

    @property
    def psf(self) -> Psf:
        """PSF of the LR images that it is trained for."""
        return self.frame.psf

    @property
    def nfe(self) -> int:
        """Network evaluations of a prediction."""
        return self.mean.nfe + (self._sampling.sharp.steps if self._sampling.mode == "sharp" else 0)

    @property
    def varies(self) -> bool:
        """True: samples differ from each other."""
        return True

    @property
    def sample_nfe(self) -> int:
        """Network evaluations of a sample, in addition to those of the prediction."""
        return 0 if self.spread.diffusion is None else len(self.spread.schedule.timesteps(self._sampling.steps))

    @property
    def interval_scale(self) -> float:
        """Factor on the width of all intervals, from the validation."""
        return float(self.interval)

    @classmethod
    def untrained(cls, settings: PosteriorSettings, data: TrainingData) -> Self:
        """Load the regression, measure its residual on training patches, and add networks with initial weights.

        Raises:
            MissingInputError: By the catalogue, the method has no regression.
            ParamsError: The regression takes a scene as one image.
        """
        if data.mean is None:
            raise MissingInputError("A posterior trains on the residual of a trained method; name it as `mean`.")
        mean, frame = load_model(data.mean), data.frame
        if mean.WHOLE_SCENE:
            raise ParamsError(f"{mean.name} takes a scene as one image and has no residual on patches; take another.")
        parts = ResidualFrame(frame.bands, settings.components, settings.condition_components)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            spread_net = _networks(parts, settings, patch=frame.patch)
        method = cls(mean, frame, parts, spread_net, settings)
        method.sampling = _validation_sampling(settings, tile=data.train.shape("lr")[-1])
        method.mean = mean.prepared(method.sampling)
        parts.measure(method._residuals(data))
        return method

    def network(self) -> nn.Module:
        """Scale and diffusion; the regression is not trained."""
        return self.spread.requires_grad_(True)

    def with_network(self, network: nn.Module) -> Self:
        """Return the method with other weights of scale and diffusion."""
        other = self._sharing()
        other.spread = cast(PosteriorNetwork, network)
        return other.to(next(network.parameters()).device)

    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the negative log-likelihood of the scale plus the error of the diffusion at random noise levels."""
        hr, lr = batch["hr"], batch["lr"]
        with torch.no_grad():
            self.to(hr.device)
            prediction, up = self._prediction(lr, batch.get("msi")), self._resampler(lr).up(lr)
            condition, residual = self.parts.condition(prediction, up), self.parts.coordinates(hr - prediction)
        generator = draws.generator(_NOISE)
        gamma = draws.mine(self.spread.schedule.draw(draws.total, generator=generator), len(hr)).to(hr.device)
        noise = torch.randn(draws.total, *residual.shape[1:], generator=generator)
        draw = Draw(draws.mine(noise, len(hr)).to(hr.device), gamma)
        return network(condition, residual, draw)

    def judge(self, patches: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Return the gain of the CRPS on the MAE of the regression in dB (3.01 is ideal), and its MPSNR, on patches."""
        scores, errors = [], []
        for prediction, samples, truth in self._ensembles(patches):
            scores.append(fair_crps(np.stack(samples), truth).mean())
            errors.append(np.abs(prediction - truth).mean())
        gain = 20 * math.log10(max(float(np.mean(errors)), 1e-12) / max(float(np.mean(scores)), 1e-12))
        return {self.JUDGED_BY: gain, "val_mpsnr_db": validation_psnr_db(self, patches)}

    def calibrate(self, patches: Mapping[str, NDArray[Any]]) -> None:
        """Choose the factor on the width of intervals with which they cover their share of the validation.

        One number by split conformal prediction, as in arXiv 2202.05265, section 2.2.
        """
        ratios = []
        for prediction, samples, truth in self._ensembles(patches):
            half = moments(samples)[1] * interval_factor(len(samples))
            ratios.append((np.abs(truth - prediction) / np.maximum(half, 1e-12)).ravel())
        self.interval.fill_(float(np.quantile(np.concatenate(ratios), INTERVAL)))

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights, with predictions and samples made by `sampling`."""
        other = self._sharing()
        other.sampling, other.mean = sampling, self.mean.prepared(sampling)
        return other

    def predict(
        self, lr: NDArray[np.float32], *, msi: NDArray[np.float32] | None = None, origin: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Super-resolve a batch; see :meth:`SuperResolver.predict`.

        The prediction is that of the regression. In the mode `sharp` it is one image of the diffusion from little noise
        in few steps, between the regression and a sample, as the flow of arXiv 2410.00418.
        """
        if self._sampling.mode == "mean" or self.spread.diffusion is None:
            return self.mean.predict(lr, msi=msi, origin=origin)
        sharp = self._sampling.sharp
        return next(self._draws(lr, msi, origin, count=1, steps=sharp.steps, noise=sharp.noise))

    def draw(
        self,
        lr: NDArray[np.float32],
        *,
        count: int,
        msi: NDArray[np.float32] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> Iterator[NDArray[np.float32]]:
        """Draw samples of a batch; see :meth:`SampleResolver.draw`."""
        return self._draws(lr, msi, origin, count=count, steps=self._sampling.steps)

    def _draws(
        self,
        lr: NDArray[np.float32],
        msi: NDArray[np.float32] | None,
        origin: tuple[int, int],
        *,
        count: int,
        steps: int,
        noise: float = 1.0,
    ) -> Iterator[NDArray[np.float32]]:
        check_input(lr, bands=self.frame.bands, remedy="samples are of the bands of the training alone")
        place = (origin[0] * self.scale, origin[1] * self.scale)
        predictions = self.mean.predict(lr, msi=msi, origin=origin)
        with torch.inference_mode():
            images = [
                self._image(as_tensor(low, like=self.interval), None if msi is None else msi[None, number], sr)
                for number, (low, sr) in enumerate(zip(lr, predictions, strict=True))
            ]
        for number in range(count):
            with torch.inference_mode():
                samples = [self._sample(image, place, number, steps, noise).float().cpu().numpy() for image in images]
            yield np.concatenate(samples)

    def predict_with_spread(
        self,
        lr: NDArray[np.float32],
        *,
        count: int,
        msi: NDArray[np.float32] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the prediction and the standard deviation of samples; see :meth:`SampleResolver`."""
        std = moments(self.draw(lr, count=count, msi=msi, origin=origin))[1]
        return self.predict(lr, msi=msi, origin=origin), std

    def _image(self, lr: Tensor, msi: NDArray[np.float32] | None, prediction: NDArray[np.float32]) -> Image:
        sr, resampler = as_tensor(prediction, like=lr), self._resampler(lr)
        condition = self.parts.condition(sr, resampler.up(lr))
        return Image(lr, msi, sr, condition, self.spread.log_scale(condition), resampler)

    def _sample(self, image: Image, place: tuple[int, int], number: int, steps: int, size: float) -> Tensor:
        sampling, like = self._sampling, image.log_scale
        draws = noise_of_sample(like, origin=place, seed=sampling.seed, number=number, draws=self.spread.schedule.steps)
        x0 = self.spread.sample(
            image.condition, like, lambda draw: size * draws(draw), sampler=sampling.sampler, steps=steps
        )
        window = (*place, *image.prediction.shape[2:])
        white = scene_noise(self.frame.bands, window=window, seed=sampling.seed, draw=_OUTSIDE + number).to(like)
        rest = size * self.parts.outside * like.mean(dim=1, keepdim=True).exp() * white
        sr = image.prediction + self.parts.cube(x0 * like.exp()) + rest
        # Values of the baseline are independent of each other, so it has none that is consistent.
        is_projected = sampling.consistency and self.settings.objective == "diffusion"
        return self._consistent(sr, image) if is_projected else sr

    def _consistent(self, sr: Tensor, image: Image) -> Tensor:
        """Return the nearest cube that degrades to the LR-HSI."""
        return sr + image.resampler.back(image.lr - image.resampler.down(sr))

    def _ensembles(
        self, patches: Mapping[str, NDArray[Any]]
    ) -> Iterator[tuple[NDArray[np.float32], list[NDArray[np.float32]], NDArray[np.float32]]]:
        """Iterate over predictions, samples and truths of patches."""
        for number, (lr, hr) in enumerate(zip(patches["lr"], patches["hr"], strict=True)):
            msi = patches["msi"][number][None] if self.FUSES else None
            samples = self.draw(lr[None], count=self.settings.validation_samples, msi=msi)
            yield self.predict(lr[None], msi=msi)[0], [sample[0] for sample in samples], hr

    def _residuals(self, data: TrainingData) -> Iterator[Residual]:
        for index in spread(len(data.train), 4 * PATCHES):
            batch = {name: torch.from_numpy(values) for name, values in data.train.read([int(index)]).items()}
            lr = batch["lr"]
            yield Residual(self._prediction(lr, batch.get("msi")), self._resampler(lr).up(lr), batch["hr"])

    def _prediction(self, lr: Tensor, msi: Tensor | None) -> Tensor:
        fine = None if msi is None or not self.FUSES else msi.cpu().numpy()
        return torch.from_numpy(self.mean.predict(lr.cpu().numpy(), msi=fine)).to(lr)

    def _resampler(self, lr: Tensor) -> Resampler:
        height, width = lr.shape[2] * self.scale, lr.shape[3] * self.scale
        return Resampler(height, width, scale=self.scale, like=lr, psf=self.psf)

    @property
    def _sampling(self) -> SamplingParams:
        if self.sampling is None:
            raise ParamsError(f"{self.name} has no sampling; set it with prepared(sampling).")
        return self.sampling

    def _sharing(self) -> Self:
        """Return a copy that shares the weights and may get other parts."""
        other = copy(self)
        other._modules = dict(self._modules)
        return other

    def config(self) -> dict[str, Any]:
        """Return regression, sensors, sizes and sampling as plain values."""
        frame = {"bands": self.frame.bands, "scale": self.scale, "psf": asdict(self.psf), "patch": self.frame.patch}
        settings = self.settings.model_dump(mode="json", exclude={"optimizer"})
        mean = {"kind": self.mean.KIND, "name": self.mean.name, **self.mean.config()}
        return {
            "mean": mean,
            "frame": {**frame, "msi_bands": self.frame.msi_bands},
            "settings": settings,
            "sampling": self._sampling.model_dump(mode="json"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a method without trained weights."""
        own = config["mean"]
        mean = kinds()[own["kind"]].from_config(own).named(own["name"])
        frame = Frame(**{**config["frame"], "psf": Psf(**config["frame"]["psf"])})
        tree = config["settings"]
        nets = {key: UnetParams.model_validate(tree[key]) for key in ("scale_net", "diffusion_net")}
        settings = PosteriorSettings.model_construct(**{**tree, **nets})
        parts = ResidualFrame(frame.bands, settings.components, settings.condition_components)
        method = cls(mean, frame, parts, _networks(parts, settings, patch=frame.patch), settings)
        method.sampling = SamplingParams.saved(config["sampling"])
        return method

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> Self:
        """Load a posterior that :meth:`save` wrote, onto a device; see :meth:`Method.load`."""
        return load_module(folder, cls.from_config).to(device).named(read_config(folder).get("name"))

    def write(self, folder: Path) -> None:
        """Write weights, those of the regression too, and configuration into the existing `folder`."""
        config = {"kind": self.KIND, "name": self.name, **self.config()}
        save_checkpoint(folder, weights=self.state_dict(), config=config)


def _networks(parts: ResidualFrame, settings: PosteriorSettings, *, patch: int) -> PosteriorNetwork:
    return PosteriorNetwork(
        parts.components,
        parts.conditions,
        scale=settings.scale_net,
        diffusion=settings.diffusion_net if settings.objective == "diffusion" else None,
        patch=patch,
        steps=settings.steps,
    )


def _validation_sampling(settings: PosteriorSettings, *, tile: int) -> SamplingParams:
    """Sampling for choosing a checkpoint; `sampling` of params.yaml has no effect on the choice."""
    tree = {"sampler": "dpmpp_2m", "steps": settings.validation_steps, "residual_decode": True, "consistency": 2}
    return SamplingParams.saved({**tree, "tile": tile, "overlap": 0, "seed": settings.seed})
