"""The posterior of a regression: its prediction, and samples of what it leaves open.

The pattern is that of CorrDiff (arXiv 2309.15214): a regression predicts the mean, and a diffusion samples the
residual, here in units of its predicted scale. The regression is any trained method of the catalogue.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.artifacts.no_data import VALID
from hsipipe.degradation.psf import Psf
from hsipipe.errors import MissingInputError, ParamsError
from hsipipe.methods.base import Frame, Network, TrainingData, validation_psnr_db
from hsipipe.methods.catalogue import kinds, load_model
from hsipipe.methods.checkpoint import load_module, read_config, save_checkpoint
from hsipipe.methods.fusion.whole_scene import WholeSceneFusion
from hsipipe.methods.posterior.frame import Residual, ResidualFrame
from hsipipe.methods.posterior.network import Draw, PosteriorNetwork
from hsipipe.methods.posterior.sampling import SampledRegression
from hsipipe.methods.posterior.settings import PosteriorSettings
from hsipipe.methods.samples import INTERVAL, fair_crps, interval_factor, moments
from hsipipe.params import SamplingParams, UnetParams
from hsipipe.patches.draws import Draws
from hsipipe.patches.sample import PATCHES, mask_of, spread

_SHARP_LOSS_DB = 0.8
"""Loss of MPSNR in dB that the sharp mode has on the validation."""
_LEAST_NOISE = 0.1
_CAPS = (0.9999, 0.999, 0.995, 0.99, 0.985, 0.98, 0.975, 0.97, 0.965, 0.96, 0.95, 0.94, 0.92, 0.9)
"""Quantiles of the predicted errors of the validation that are tried as the largest one."""
_EVERY = 4
"""Bands from which the largest error is chosen: one of this number, for speed and memory."""
_FEW = 4
"""With fewer validation patches than this no largest error is chosen: its standard error would be a guess."""
_RANGE_PATCHES = 1024
"""Training patches of which the range of the truths is taken."""
_NOISE = 2
"""Random stream of noise and noise levels in training."""


@dataclass(frozen=True)
class _PatchEnsemble:
    """Prediction (C, H, W), samples and truth of a patch, and the predicted error of its pixels (1, H, W)."""

    prediction: NDArray[np.float32]
    samples: list[NDArray[np.float32]]
    truth: NDArray[np.float32]
    level: NDArray[np.float32]

    @classmethod
    def of_valid(cls, prediction: Any, samples: Any, truth: Any, level: Any, valid: NDArray[np.bool_] | None) -> Self:
        """Make the ensemble of the pixels with data (H, W), as images of one row; None: of all pixels."""

        def kept(image: NDArray[np.float32]) -> NDArray[np.float32]:
            return image if valid is None else image[:, None, valid]

        return cls(kept(prediction), [kept(sample) for sample in samples], kept(truth), kept(level))

    def thinned(self) -> "_PatchEnsemble":
        """Return the ensemble of some of the bands."""
        some = slice(None, None, _EVERY)
        samples = [sample[some].copy() for sample in self.samples]
        return replace(self, prediction=self.prediction[some].copy(), samples=samples, truth=self.truth[some])

    def capped(self, cap: float) -> "_PatchEnsemble":
        """Return the ensemble with errors up to `cap`; exact but for the projection onto the observations."""
        factor = np.minimum(cap / self.level, 1).astype(np.float32)
        samples = [self.prediction + factor * (sample - self.prediction) for sample in self.samples]
        return replace(self, samples=samples)

    def crps(self) -> float:
        """CRPS, mean over all values."""
        return float(fair_crps(np.stack(self.samples), self.truth).mean())

    def mae(self) -> float:
        """Mean absolute error of the prediction."""
        return float(np.abs(self.prediction - self.truth).mean())

    def errors(self) -> NDArray[np.floating[Any]]:
        """Errors of the prediction in units of half an interval's width."""
        half = moments(self.samples)[1] * interval_factor(len(self.samples), around_mean=False)
        ratios: NDArray[np.floating[Any]] = np.abs(self.truth - self.prediction) / np.maximum(half, 1e-12)
        return ratios.ravel()


class Posterior(SampledRegression):
    """A regression and the distribution of its error.

    :meth:`predict` gives the prediction of the regression, so that samples cost nothing unless they are wanted;
    :meth:`draw` gives samples, each about as consistent with the observations as the prediction.
    """

    KIND: ClassVar[str] = "posterior"
    DESCRIPTION: ClassVar[str] = "A regression, and samples of its residual."
    Settings = PosteriorSettings
    JUDGED_BY: ClassVar[str] = "val_crps_gain_db"

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
        if mean.WHOLE_SCENE or isinstance(mean, WholeSceneFusion):
            raise ParamsError(f"{mean.name} takes a scene as one image and has no residual on patches; take another.")
        parts = ResidualFrame(frame.bands, settings.components, settings.condition_components)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            spread_net = _networks(parts, settings, patch=frame.patch)
        method = cls(mean, frame, parts, spread_net, settings)
        method.sampling = _validation_sampling(settings, frame, tile=data.train.shape("lr")[-1])
        method.mean = mean.prepared(method.sampling)
        parts.measure(method._residuals(data))
        few = (data.train.read(part)["hr"] for part in _blocks(spread(len(data.train), _RANGE_PATCHES)))
        parts.limit((float(hr.min()), float(hr.max())) for hr in few)
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
        return network(condition, residual, draw, batch.get(VALID))

    def judge(self, patches: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Return the gain of the CRPS on the MAE of the regression in dB (3.01 is ideal), and its MPSNR, on patches."""
        gain = _gain_db([(it.mae(), it.crps()) for it in self._ensembles(patches)])
        return {self.JUDGED_BY: gain, "val_mpsnr_db": validation_psnr_db(self, patches)}

    def calibrate(self, patches: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Choose the largest predicted error, the factor on intervals, and the noise of the sharp mode.

        With the factor, intervals cover as many values of the validation as they should: one number by split conformal
        prediction, as in arXiv 2202.05265, section 2.2.

        Returns:
            The gain of the CRPS with the largest error.
        """
        self.cap.fill_(torch.inf)
        self.cap.fill_(_largest_error([it.thinned() for it in self._ensembles(patches)]))
        # Drawn again, since a sample that was cut afterwards is not exactly consistent.
        ratios, scores = [], []
        for it in self._ensembles(patches):
            ratios.append(it.errors())
            scores.append((it.mae(), it.crps()))
        self.interval.fill_(float(np.quantile(np.concatenate(ratios), INTERVAL)))
        if self.can_be_sharp:
            self._choose_sharp_noise(patches)
        return {self.JUDGED_BY: _gain_db(scores)}

    def _choose_sharp_noise(self, patches: Mapping[str, NDArray[Any]]) -> None:
        """Choose the noise of the sharp mode that costs :data:`_SHARP_LOSS_DB` on patches.

        The squared error that it adds grows with the square of the noise, so that two rounds are enough.
        """
        plain = validation_psnr_db(self, patches)
        for _ in range(2):
            sharp = self.prepared(self._sampling.model_copy(update={"mode": "sharp"}))
            added = 10 ** ((plain - validation_psnr_db(sharp, patches)) / 10) - 1
            wanted = 10 ** (_SHARP_LOSS_DB / 10) - 1
            noise = float(self.sharp_noise) * math.sqrt(wanted / max(added, 1e-3))
            self.sharp_noise.fill_(min(max(noise, _LEAST_NOISE), 1.0))

    def _ensembles(self, patches: Mapping[str, NDArray[Any]]) -> Iterator["_PatchEnsemble"]:
        """Iterate over the ensembles of patches."""
        mask = mask_of(patches)
        for number, (lr, hr) in enumerate(zip(patches["lr"], patches["hr"], strict=True)):
            msi = patches["msi"][number][None] if self.FUSES else None
            # Noise depends on the place: patches at one place would share it.
            place = (0, number * lr.shape[2])
            (image,) = self._images(lr[None], msi, place)
            drawn = self._draws([image], place, count=self.settings.validation_samples, steps=self._sampling.steps)
            samples = [sample[0] for sample in drawn]
            prediction, level = (it[0].cpu().numpy() for it in (image.prediction, image.level))
            own = None if mask is None else mask[number]
            yield _PatchEnsemble.of_valid(prediction, samples, hr, level, own)

    def _residuals(self, data: TrainingData) -> Iterator[Residual]:
        for index in spread(len(data.train), 4 * PATCHES):
            read = data.train.read([int(index)])
            batch = {name: torch.from_numpy(values) for name, values in read.items()}
            lr = batch["lr"]
            prediction, up = self._prediction(lr, batch.get("msi")), self._resampler(lr).up(lr)
            yield Residual(prediction, up, batch["hr"], mask_of(read))

    def _prediction(self, lr: Tensor, msi: Tensor | None) -> Tensor:
        fine = None if msi is None or not self.FUSES else msi.cpu().numpy()
        return torch.from_numpy(self.mean.predict(lr.cpu().numpy(), msi=fine)).to(lr)

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


def _largest_error(ensembles: list[_PatchEnsemble]) -> float:
    """Choose the cap on the predicted error of a pixel by the CRPS on patches.

    It is the largest cap that is within one standard error of the best one (Breiman et al. 1984, section 3.4.3): few
    patches have the pixels that it is about, and samples that are too sure do more harm than wide ones.
    """
    if len(ensembles) < _FEW:
        return math.inf
    levels = np.concatenate([it.level.ravel() for it in ensembles])
    caps = [math.inf, *np.quantile(levels, _CAPS).tolist()]
    scores = np.array([[it.capped(cap).crps() for it in ensembles] for cap in caps])
    above = scores - scores[scores.mean(axis=1).argmin()]
    allowed = above.std(axis=1, ddof=1) / math.sqrt(len(ensembles))
    return float(caps[int(np.argmax(above.mean(axis=1) <= allowed))])


def _gain_db(scores: list[tuple[float, float]]) -> float:
    """Gain of the CRPS on the MAE in dB, of both on each patch."""
    mae, crps = np.maximum(np.mean(scores, axis=0), 1e-12)
    return float(20 * np.log10(mae / crps))


def _blocks(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(indices, math.ceil(len(indices) / PATCHES))


def _networks(parts: ResidualFrame, settings: PosteriorSettings, *, patch: int) -> PosteriorNetwork:
    return PosteriorNetwork(
        parts.components,
        parts.conditions,
        scale=settings.scale_net,
        diffusion=settings.diffusion_net if settings.objective == "diffusion" else None,
        patch=patch,
        steps=settings.steps,
    )


def _validation_sampling(settings: PosteriorSettings, frame: Frame, *, tile: int) -> SamplingParams:
    """Sampling for choosing a checkpoint; `sampling` of params.yaml has no effect on the choice."""
    # Without a PSF, as in denoising, the input is the noise that is to go: a prediction must not return to it.
    blurs = frame.psf.changes(frame.scale)
    tree = {"sampler": "dpmpp_2m", "steps": settings.validation_steps}
    place = {"tile": tile, "overlap": 0, "seed": settings.seed}
    return SamplingParams.saved({**tree, **place, "residual_decode": blurs, "consistency": 2 if blurs else 0})
