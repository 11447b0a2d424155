"""DMGASR (arXiv 2402.17285): group autoencoder + latent diffusion, as one super-resolver."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, smooth_l1_loss

from hsipipe.artifacts.no_data import VALID
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.diffusion.consistency import Resampler, back_project
from hsipipe.diffusion.targets import diffuse, to_x0, training_target
from hsipipe.errors import IntegrityError, MissingInputError, ParamsError
from hsipipe.methods.base import Ceiling, Network, Trainable, TrainingData, as_batch, as_tensor
from hsipipe.methods.checkpoint import load_module, save_checkpoint
from hsipipe.methods.dmgasr.gae import GroupAutoencoder, load_gae
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.settings import DmgasrSettings
from hsipipe.methods.losses import at_valid, cube_loss
from hsipipe.methods.samples import ONE_STEP, MeanOfSamples, moments
from hsipipe.methods.super_resolver import check_input, refuse_msi
from hsipipe.params import SamplingParams
from hsipipe.patches.draws import Draws
from hsipipe.storage.manifest import digest

_NORMS: Mapping[str, Callable[..., Tensor]] = {
    "l1": l1_loss,
    "l2": mse_loss,
    "huber": partial(smooth_l1_loss, beta=0.5),
}
_NOISE = 2
"""Random stream of noise and noise levels in training."""


class _Input(NamedTuple):
    """Data shared by all samples of an image: the input (1, C, h, w), interpolated to (1, C, H, W), and its latent.

    `decoded` is the decoded latent (1, C, H, W), or None if the output is not residual decoded.
    """

    lr: Tensor
    up: Tensor
    z_lr: Tensor
    decoded: Tensor | None
    resampler: Resampler


class Dmgasr(MeanOfSamples, nn.Module, Trainable):
    """The whole super-resolver: interpolate to H x W, encode, sample all groups together, decode.

    Source: arXiv 2402.17285, Algorithm 1.

    Args:
        gae: Trained autoencoder.
        net: Trained latent network.
        sampling: Settings of prediction.
    """

    KIND: ClassVar[str] = "dmgasr"
    DESCRIPTION: ClassVar[str] = "DMGASR: a diffusion in the latent space of a group autoencoder."
    Settings = DmgasrSettings

    def __init__(self, gae: GroupAutoencoder, net: LatentNet, *, sampling: SamplingParams) -> None:
        super().__init__()
        self.gae, self.net, self.sampling, self.scale = gae, net, sampling, net.scale
        self.settings: DmgasrSettings | None = None
        self.label = None if net.objective == "diffusion" else "dmgasr-regression"
        self.eval().requires_grad_(False)

    @property
    def description(self) -> str:
        """One sentence or two for the report."""
        return self.DESCRIPTION if self.net.objective == "diffusion" else f"{self.DESCRIPTION} {ONE_STEP}"

    @property
    def bands(self) -> int:
        """Band count C."""
        return self.gae.bands

    @property
    def msi_bands(self) -> int:
        """0: it takes no HR-MSI."""
        return 0

    @property
    def wavelength_nm(self) -> tuple[float, ...] | None:
        """Band centres (C,) of the sensor that it serves; None: bands are identified by their number only."""
        return self.gae.wavelength_nm

    @property
    def samples(self) -> int:
        """Number K of samples that a prediction averages; 1 if all samples would be equal."""
        return self.sampling.samples if self.varies else 1

    @property
    def varies(self) -> bool:
        """True if samples differ from each other; see :meth:`LatentNet.varies`."""
        return self.net.varies(self.sampling)

    @property
    def sample_nfe(self) -> int:
        """Network evaluations of a sample."""
        return 1 if self.net.objective == "regression" else len(self.net.schedule.timesteps(self.sampling.steps))

    @property
    def components(self) -> int:
        """Latent channels of all groups."""
        return self.gae.latent_mean.numel()

    def ceilings(self) -> Mapping[str, Ceiling]:
        """The reconstruction of the autoencoder, and the prediction from a perfect latent."""
        return {
            "ae-ceiling": lambda lr, msi, hr: self.reconstruct(hr),
            "latent-ceiling": lambda lr, msi, hr: self.ceiling(lr, hr),
        }

    def prepared(self, sampling: SamplingParams) -> "Dmgasr":
        """Return a copy that shares the weights, with predictions made by `sampling`."""
        return self._as(self.gae, self.net, sampling)

    def for_wavelengths(self, wavelength_nm: Sequence[float]) -> "Dmgasr":
        """Return a copy that shares the weights, for the cubes of another sensor; saving keeps the training sensor.

        Args:
            wavelength_nm: Band centres (C,), strictly increasing.

        Raises:
            ModelInputError: The model identifies bands by number, or its windows do not cover every band.
            DataError: The centres are unknown or do not increase.
            ParamsError: Without residual decoding, the output would lack the detail that the resampling loses.
        """
        gae = self.gae.for_wavelengths(wavelength_nm)
        if gae.wavelength_nm != self.gae.wavelength_nm and not self.sampling.residual_decode:
            raise ParamsError(
                "Another sensor's bands are resampled to the windows of the model and back, and what that loses "
                "cancels in residual decoding alone; this model has sampling.residual_decode: false, set it to true."
            )
        return self._as(gae, self.net, self.sampling)

    def _as(self, gae: GroupAutoencoder, net: LatentNet, sampling: SamplingParams) -> "Dmgasr":
        return Dmgasr(gae, net, sampling=sampling).named(self.label).within(self.domain)

    @classmethod
    def untrained(cls, settings: DmgasrSettings, data: TrainingData) -> Self:
        """Combine the trained autoencoder with a latent network with initial weights.

        Raises:
            MissingInputError: By the catalogue, the method is not trained on latents.
            IntegrityError: The latents belong to another autoencoder.
        """
        if data.latents is None or data.gae is None:
            raise MissingInputError("DMGASR trains on latents; name them in its line of the catalogue.")
        if PatchArrays(data.latents / "train.zarr").attrs["gae_digest"] != digest(data.gae):
            raise IntegrityError("The latents were made by another autoencoder; run the stage latents again.")
        gae, frame = load_gae(data.gae), data.frame
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            net = LatentNet.untrained(gae.latent_channels, settings, frame)
        tree = {"sampler": settings.validation_sampler, "steps": settings.validation_steps, "seed": settings.seed}
        # In denoising, residual decoding would keep noise that the latents do not contain, and mask their quality.
        decode = {"residual_decode": frame.psf.changes(frame.scale), "consistency": 0}
        method = cls(gae, net, sampling=SamplingParams.saved({**tree, **decode, "tile": frame.patch, "overlap": 0}))
        method.settings = settings
        return method

    def network(self) -> nn.Module:
        """The latent network; the autoencoder is not trained."""
        return self.net.requires_grad_(True)

    def with_network(self, network: nn.Module) -> Self:
        """Return the method with other weights of the latent network."""
        device = next(network.parameters()).device
        return type(self)(self.gae.to(device), network, sampling=self.sampling)  # type: ignore[arg-type]

    def batches_from(self, data: TrainingData) -> Path:
        """The latents of the training patches."""
        if data.latents is None:
            raise MissingInputError("DMGASR trains on latents; name them in its line of the catalogue.")
        return data.latents / "train.zarr"

    def loss(self, network: Network, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        """Compute the distance to the diffusion target at random noise levels; for a regression, to x_0 from zeros."""
        z_hr, z_lr, net, valid = batch["hr"], batch["lr"], self.net, batch.get(VALID)
        x0 = net.clean(z_hr, z_lr, self.gae.residual_std.to(z_hr.device))
        if net.objective == "regression":
            prediction = network(torch.zeros_like(x0), z_lr, x0.new_zeros(len(x0)))
            return self._distance(prediction, x0, x0_hat=prediction, z=(z_hr, z_lr), valid=valid)
        generator, share = draws.generator(_NOISE), self._training.terminal_share
        gamma = net.schedule.draw(draws.total, generator=generator, terminal_share=share)
        gamma = draws.mine(gamma, len(x0)).to(x0.device)
        noise = draws.mine(torch.randn(draws.total, *x0.shape[1:], generator=generator), len(x0)).to(x0.device)
        noisy = diffuse(x0, noise, gamma)
        prediction = network(noisy, z_lr, gamma)
        target = training_target(net.target, x0=x0, noise=noise, gamma=gamma)
        x0_hat = to_x0(net.target, prediction, x_t=noisy, gamma=gamma)
        return self._distance(prediction, target, x0_hat=x0_hat, z=(z_hr, z_lr), valid=valid)

    @property
    def _training(self) -> DmgasrSettings:
        if self.settings is None:
            raise ParamsError("A loaded DMGASR has no training settings; make it with untrained(settings, data).")
        return self.settings

    def _distance(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        x0_hat: Tensor,
        z: tuple[Tensor, Tensor],
        valid: Tensor | None,
    ) -> Tensor:
        """Compute the loss in latent space, and between the decoded cubes of estimate and truth."""
        weights = self._training.loss
        total = weights.target * _NORMS[weights.norm](at_valid(prediction, target, valid), target)
        if not (weights.l1 or weights.sam or weights.gradient):
            return total
        z_hr, z_lr = z
        gae = self.gae.to(z_hr.device)
        with torch.no_grad():
            truth = gae.decode(z_hr)
        cube = gae.decode(self.net.latent(x0_hat, z_lr, gae.residual_std))
        return total + cube_loss(at_valid(cube, truth, valid), truth, weights)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> Self:
        """Load a model that :meth:`save` wrote, onto a device; see :meth:`hsipipe.methods.base.Method.load`."""
        return load_module(folder, cls.from_config).to(device)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build a model without trained weights."""
        net = LatentNet.from_config(config["net"])
        gae, sampling = GroupAutoencoder.from_config(config["gae"]), SamplingParams.saved(config["sampling"])
        # Early checkpoints have no name of their entry.
        first = "dmgasr" if net.objective == "diffusion" else "dmgasr-regression"
        return cls(gae, net, sampling=sampling).named(config.get("name", first))

    def config(self) -> dict[str, Any]:
        """Return autoencoder, network and sampling as plain values."""
        return {
            "gae": self.gae.config(),
            "net": self.net.config(),
            "sampling": self.sampling.model_dump(mode="json"),
        }

    def write(self, folder: Path) -> None:
        """Write weights and configuration into the existing `folder`."""
        config = {"kind": self.KIND, "name": self.name, **self.config()}
        save_checkpoint(folder, weights=self.state_dict(), config=config)

    def predict(self, lr: np.ndarray, *, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Super-resolve a batch: the mean of the samples.

        Args:
            lr: (B, C, h, w) float32, scaled as in training (reflectance in 0..1).
            msi: Must be None.
            origin: LR row and column of the images in their scene.

        Returns:
            (B, C, H, W) float32.

        Raises:
            ModelInputError: Wrong rank, band count or type, or NaN, or an HR-MSI.
        """
        return moments(self.draw(lr, count=self.samples, msi=msi, origin=origin))[0]

    def draw(
        self, lr: np.ndarray, *, count: int, msi: np.ndarray | None = None, origin: tuple[int, int] = (0, 0)
    ) -> Iterator[np.ndarray]:
        """Draw samples of a batch; see :meth:`SampleResolver.draw`."""
        refuse_msi(msi, name=self.name)
        remedy = "give the cube its wavelengths, which bind the model to it: model.for_wavelengths(wavelength_nm)"
        check_input(lr, bands=self.bands, remedy=remedy if self.wavelength_nm else None)
        place = (origin[0] * self.scale, origin[1] * self.scale)
        with torch.inference_mode():
            images = [self._start(self.tensor(image)) for image in lr]
        for number in range(count):
            with torch.inference_mode():
                samples = [self._sample(image, place, number) for image in images]
            yield as_batch(samples)

    def reconstruct(self, hr: np.ndarray) -> np.ndarray:
        """Encode and decode the truth (C, H, W)."""
        with torch.inference_mode():
            return self.gae(self.tensor(hr))[0].float().cpu().numpy()  # type: ignore[no-any-return]

    def ceiling(self, lr: np.ndarray, hr: np.ndarray) -> np.ndarray:
        """Predict with the true latent in place of the sampled one; needs the ground truth.

        Args:
            lr: (C, h, w).
            hr: (C, H, W).

        Returns:
            (C, H, W) float32.
        """
        with torch.inference_mode():
            result = self._finish(self.gae.encode(self.tensor(hr)), self._start(self.tensor(lr)))
        return result[0].float().cpu().numpy()

    def tensor(self, image: np.ndarray) -> Tensor:
        """Convert (C, H, W) to a batch of one on the device of the model."""
        return as_tensor(image, like=self.gae.latent_mean)

    def _sample(self, given: _Input, place: tuple[int, int], number: int) -> Tensor:
        x0 = self.net.sample(given.z_lr, sampling=self.sampling, origin=place, number=number)
        return self._finish(self.net.latent(x0, given.z_lr, self.gae.residual_std[self.gae.groups]), given)

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
