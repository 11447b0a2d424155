"""The base of all networks that fuse an LR-HSI with an HR-MSI: training, sampling, consistency, scenes, saving."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsipipe.artifacts.no_data import VALID
from hsipipe.degradation.estimate import estimate_response
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.noise import noise_of_sample
from hsipipe.diffusion.samplers import SAMPLERS
from hsipipe.diffusion.targets import diffuse, to_x0, training_target
from hsipipe.errors import DataError, ParamsError
from hsipipe.methods.base import Network, Trainable, TrainingData, as_batch, sample_of
from hsipipe.methods.checkpoint import load_module, save_checkpoint
from hsipipe.methods.fusion.pair_network import PairNetwork
from hsipipe.methods.fusion.setup import Denoising, Estimate, FusionDiffusionParams, Given, Pairing
from hsipipe.methods.losses import at_valid
from hsipipe.methods.samples import ONE_STEP, MeanOfSamples, moments
from hsipipe.methods.super_resolver import check_input, check_msi
from hsipipe.params import SamplingParams
from hsipipe.patches.draws import Draws
from hsipipe.patches.sample import PATCHES, mask_of

_SILENT = 1e-6
"""Remaining share of the signal power below which `scale_input` suppresses the noise completely."""
_NOISE = 2
"""Random stream of noise and noise levels in training."""
_NO_MSI = "The patches have no HR-MSI to fuse; set degradation.srf to a sensor, a table, or measured."


class FusionModel(MeanOfSamples, PairNetwork, Trainable):
    """A fusion super-resolver built on a denoising network; the subclass defines x_0.

    Attributes:
        sampling: Settings of prediction; None: not set yet.
        settings: Instance of `Settings` during training; None after loading.
    """

    FUSES: ClassVar[bool] = True
    ARRAYS: ClassVar[tuple[str, ...]] = ("hr", "lr", "msi")
    bounds: ClassVar[tuple[float, float] | None] = None
    """Range of x_0, to which sampling clips its estimates; None: unbounded."""
    sampling: SamplingParams | None = None
    settings: Any = None

    @property
    def description(self) -> str:
        """One sentence or two for the report."""
        return self.DESCRIPTION if self.denoising.objective == "diffusion" else f"{self.DESCRIPTION} {ONE_STEP}"

    @abstractmethod
    def distance(self, made: Estimate) -> Tensor:
        """Compute the loss of an estimate."""

    @property
    def samples(self) -> int:
        """Number K of samples that a prediction averages; 1 if all samples would be equal."""
        return self._sampling.samples if self.varies else 1

    @property
    def sample_nfe(self) -> int:
        """Network evaluations of a sample."""
        return 1 if self.denoising.objective == "regression" else len(self.schedule.timesteps(self._sampling.steps))

    def with_sampling(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights, with another sampling: steps, samples, consistency."""
        other = copy(self)
        other.sampling = sampling
        return other

    def prepared(self, sampling: SamplingParams) -> Self:
        """Return a copy that shares the weights, with this sampling and its spectral response, given or estimated."""
        return self.with_sampling(sampling).with_sensors(response=sampling.response)

    def with_sensors(self, *, psf: Psf | None = None, response: Literal["given", "estimated"] | None = None) -> Self:
        """Return a copy that shares the weights, for a pair of other sensors with the same ratio.

        Args:
            psf: PSF of the LR-HSI's sensor; None: unchanged.
            response: `given` uses the response of the model, `estimated` estimates it from each scene's pair; None:
                unchanged. A model whose training estimated the response always estimates it.
        """
        other = copy(self)
        mode = self.pairing.response if response is None or self.pairing.response == "estimated" else response
        other.pairing = replace(self.pairing, psf=psf or self.psf, response=mode)
        return other

    def predict(self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Super-resolve a batch of pairs: the mean of the samples.

        Args:
            lr: (B, C, h, w) float32, scaled as in training.
            msi: (B, c, H, W) float32 of the same area, scaled in the same way.
            origin: LR row and column of the images in their scene.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, extent, band count or type, NaN, or no HR-MSI.
        """
        return moments(self.draw(lr, count=self.samples, msi=msi, origin=origin))[0]

    def draw(
        self, lr: np.ndarray, *, count: int, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)
    ) -> Iterator[np.ndarray]:
        """Draw samples of a batch of pairs; see :meth:`SampleResolver.draw`."""
        check_input(lr, bands=self.bands)
        fine = check_msi(msi, lr, scale=self.scale, bands=self.msi_bands)
        place = (origin[0] * self.scale, origin[1] * self.scale)
        with torch.inference_mode():
            # One by one, so that a prediction does not depend on the other images of the batch.
            pairs = [self.given(self.tensor(low), self.tensor(high)) for low, high in zip(lr, fine, strict=True)]
        for number in range(count):
            with torch.inference_mode():
                samples = [self._finish(self._sample(given, place, number), given) for given in pairs]
            yield as_batch(samples)

    def config(self) -> dict[str, Any]:
        """Return sensors, denoising, sizes and sampling as plain values."""
        return {
            "pairing": asdict(self.pairing),
            "denoising": asdict(self.denoising),
            "net": self.net_config(),
            "sampling": self._sampling.model_dump(mode="json"),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a model without trained weights."""
        pairing = Pairing(**{**config["pairing"], "psf": Psf(**config["pairing"]["psf"])})
        model = cls.build(pairing, Denoising(**config["denoising"]), config["net"])
        model.sampling = SamplingParams.saved(config["sampling"])
        # Early regressions were saved under one name for all methods.
        saved = config.get("name")
        return model.named(f"{cls.KIND}-regression" if saved == "regression" else saved)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> Self:
        """Load a model that :meth:`save` wrote, onto a device; see :meth:`hsipipe.methods.base.Method.load`."""
        return load_module(folder, cls.from_config).to(device)

    def write(self, folder: Path) -> None:
        """Write weights and configuration into the existing `folder`."""
        config = {"kind": self.KIND, "name": self.name, **self.config()}
        save_checkpoint(folder, weights=self.state_dict(), config=config)

    @classmethod
    def untrained(cls, settings: Any, data: TrainingData) -> Self:
        """Build the model for the sensors of the patches, with initial weights drawn by the seed.

        Raises:
            DataError: The patches have no HR-MSI.
        """
        frame = data.frame
        if not frame.msi_bands:
            raise DataError(_NO_MSI)
        sample, known = sample_of(data.train, 4 * PATCHES), frame.response
        response = _estimated(sample, scale=frame.scale, psf=frame.psf) if known is None else known
        given: Literal["given", "estimated"] = "estimated" if known is None else "given"
        pairing = Pairing(frame.bands, frame.msi_bands, frame.scale, frame.psf, given)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = cls.made_for(pairing, settings, response, patch=frame.patch)
        model.settings = settings
        model.sampling = _validation_sampling(settings, tile=data.train.shape("lr")[-1])
        model.measure(sample)
        return model

    def measure(self, sample: Mapping[str, NDArray[Any]]) -> None:
        """Measure statistics of training patches (N, band, y, x) and store them in buffers; by default none."""

    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the distance to the diffusion target at random noise levels; for a regression, to x_0 from zeros."""
        hr, lr, msi = (batch[name] for name in self.ARRAYS)
        valid = batch.get(VALID)
        with torch.no_grad():
            given = self.given(lr, msi)
            x0 = self.clean(hr, given)
        if self.denoising.objective == "regression":
            prediction = at_valid(network(torch.zeros_like(x0), given.condition, x0.new_zeros(len(x0))), x0, valid)
            return self.distance(Estimate(prediction, x0, prediction, hr, given, valid))
        generator, share = draws.generator(_NOISE), self.settings.diffusion.terminal_share
        levels = self.schedule.draw(draws.total, generator=generator, terminal_share=share)
        gamma = draws.mine(levels, len(hr)).to(hr.device)
        noise = draws.mine(torch.randn(draws.total, *x0.shape[1:], generator=generator), len(hr)).to(hr.device)
        noisy, kind = diffuse(x0, noise, gamma), self.denoising.target
        prediction = network(noisy, given.condition, gamma)
        target = training_target(kind, x0=x0, noise=noise, gamma=gamma)
        x0_hat = at_valid(to_x0(kind, prediction, x_t=noisy, gamma=gamma), x0, valid)
        return self.distance(Estimate(at_valid(prediction, target, valid), target, x0_hat, hr, given, valid))

    @property
    def _sampling(self) -> SamplingParams:
        if self.sampling is None:
            raise ParamsError(f"{self.KIND} has no sampling; set it with with_sampling(sampling).")
        return self.sampling

    @property
    def varies(self) -> bool:
        """True if samples differ from each other; see :meth:`hsipipe.methods.dmgasr.latent_net.LatentNet.varies`."""
        hidden = self.denoising.scale_input and float(self.schedule.gammas[-1]) < _SILENT
        one = len(self.schedule.timesteps(self._sampling.steps)) == 1
        return self.denoising.objective == "diffusion" and not (hidden and one)

    def _finish(self, x0: Tensor, given: Given) -> Tensor:
        sr = self.cube(x0, given)
        return given.pair.project(sr) if self._sampling.consistency else sr

    def _sample(self, given: Given, origin: tuple[int, int], number: int) -> Tensor:
        batch, _, height, width = given.condition.shape
        zeros = given.condition.new_zeros(batch, self.channels, height, width)
        if self.denoising.objective == "regression":
            return cast(Tensor, self(zeros, given.condition, zeros.new_zeros(batch)))
        network = self.denoiser(given.condition)

        def denoise(x_t: Tensor, gamma: Tensor) -> Tensor:
            x0 = to_x0(self.denoising.target, network(x_t, gamma), x_t=x_t, gamma=gamma)
            return x0 if self.bounds is None else x0.clamp(*self.bounds)

        sampling = self._sampling
        noise = noise_of_sample(zeros, origin=origin, seed=sampling.seed, number=number, draws=self.schedule.steps)
        return SAMPLERS[sampling.sampler](denoise, noise, schedule=self.schedule, steps=sampling.steps)


def _validation_sampling(settings: Any, *, tile: int) -> SamplingParams:
    """Sampling for choosing a checkpoint; `sampling` of params.yaml has no effect on the choice."""
    diffusion: FusionDiffusionParams | None = getattr(settings, "diffusion", None)
    tree = {"sampler": "ddim", "steps": diffusion.validation_steps if diffusion else 1, "residual_decode": False}
    return SamplingParams.saved({**tree, "consistency": 1, "tile": tile, "overlap": 0, "seed": settings.seed})


def _estimated(sample: Mapping[str, NDArray[Any]], *, scale: int, psf: Psf) -> NDArray[np.float64]:
    # Concatenate the patches. At their borders the PSF mixes pixels of two patches, which affects few pixels.
    low, high = (np.concatenate(list(sample[name]), axis=2) for name in ("lr", "msi"))
    mask = mask_of(sample)
    return estimate_response(
        low, high, scale=scale, psf=psf, valid=None if mask is None else np.concatenate(list(mask), axis=1)
    )
