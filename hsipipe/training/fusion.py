"""Training of the fusion models: the diffusion, the same network as a regression, and the plain control."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hsipipe.artifacts import PatchStore
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.estimate import estimate_response
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.targets import diffuse, to_x0, training_target
from hsipipe.errors import DataError, ParamsError
from hsipipe.methods.checkpoint import save_checkpoint
from hsipipe.methods.fusion.model import FusionModel
from hsipipe.methods.fusion.setup import Objective, Pairing
from hsipipe.methods.fusion_fast import FusionFast
from hsipipe.methods.hsrdiff import HsrDiff
from hsipipe.params import HardwareParams, PhaseParams, SamplingParams
from hsipipe.patches.loader import Batch, StepBatches
from hsipipe.training.fusion_recipes import Estimate, Recipe
from hsipipe.training.gae import VALIDATION_PATCHES, spread
from hsipipe.training.loop import Log, fit, generator_for
from hsipipe.training.validation import may_be_turned, mean_psnr_db

ARRAYS = ("hr", "lr", "msi")
_NOISE, _CROP = 2, 3
"""Streams of random numbers beside those of the loop."""


class _Fusing:
    """Predict the diffusion's target from noisy cubes and the pair, or x_0 from the pair alone (regression)."""

    def __init__(self, train: PatchArrays, val: PatchArrays, recipe: Recipe) -> None:
        self.seed = recipe.seed
        self._recipe, self._scale, self._patch = recipe, int(train.attrs["scale"]), train.shape("hr")[-1]
        self._batches = StepBatches(
            train.path, ARRAYS, batch=recipe.optimizer.batch, seed=recipe.seed, augment=may_be_turned(val)
        )
        self._val = val.read(spread(len(val), VALIDATION_PATCHES))

    def loss(self, module: FusionModel, step: int, part: slice) -> Tensor:
        batch, device = self._images(module, step, part), module.response.device
        hr, lr, msi = (batch[name].to(device) for name in ARRAYS)
        with torch.no_grad():
            given = module.given(lr, msi)
            x0 = module.clean(hr, given)
        if module.denoising.objective == "regression" or self._recipe.diffusion is None:
            prediction = module(torch.zeros_like(x0), given.condition, x0.new_zeros(len(x0)))
            return self._recipe.distance(module, Estimate(prediction, x0, prediction, hr, given))
        generator, total = generator_for(self.seed, step, stream=_NOISE), self._recipe.optimizer.batch
        share = self._recipe.diffusion.terminal_share
        gamma = module.schedule.draw(total, generator=generator, terminal_share=share)[part][: len(hr)].to(device)
        noise = torch.randn(total, *x0.shape[1:], generator=generator)[part][: len(hr)].to(device)
        noisy = diffuse(x0, noise, gamma)
        prediction = module(noisy, given.condition, gamma)
        kind = module.denoising.target
        target = training_target(kind, x0=x0, noise=noise, gamma=gamma)
        x0_hat = to_x0(kind, prediction, x_t=noisy, gamma=gamma)
        return self._recipe.distance(module, Estimate(prediction, target, x0_hat, hr, given))

    def validate(self, module: FusionModel) -> Mapping[str, float]:
        return {"val_mpsnr_db": mean_psnr_db(module, self._val)}

    def _images(self, module: FusionModel, step: int, part: slice) -> Batch:
        """The batch of a step; in a progressive training fewer and smaller images of it."""
        batch = self._batches.at(step, part)
        if not self._recipe.phases:
            return batch
        phase = self._phase(step)
        inner = _module_of(module)
        if isinstance(inner, HsrDiff):
            inner.net.train_levels(phase.trains)
        share = -(-phase.batch * len(batch["hr"]) // self._recipe.optimizer.batch)
        places = (self._patch - phase.size) // self._scale + 1
        y, x = torch.randint(places, (2,), generator=generator_for(self.seed, step, stream=_CROP)).tolist()
        edge = phase.size // self._scale
        low = np.s_[:share, :, y : y + edge, x : x + edge]
        s = self._scale
        high = np.s_[:share, :, y * s : y * s + phase.size, x * s : x * s + phase.size]
        return {name: image[low if name == "lr" else high].contiguous() for name, image in batch.items()}

    def _phase(self, step: int) -> PhaseParams:
        done = (step + 1) / self._recipe.optimizer.steps
        return next(phase for phase in self._recipe.phases if done <= phase.until)


def _module_of(module: torch.nn.Module) -> torch.nn.Module:
    """The module itself, where the loop has wrapped it."""
    inner = getattr(module, "module", module)
    return _module_of(inner) if inner is not module else module


def train_fusion(
    patches: PatchStore,
    out: Path,
    *,
    recipe: Recipe,
    objective: Objective,
    hardware: HardwareParams,
    work: Path,
    log: Log,
    description: str,
) -> dict[str, float]:
    """Train a fusion model and write its checkpoint into `out`.

    Args:
        patches: Train and validation patches, with their HR-MSI.
        out: Existing empty folder.
        recipe: The model and how it is trained.
        objective: As a diffusion, or the same network as a regression.
        hardware: Device, precision, processes.
        work: Folder of the resume point.
        log: Gets the metrics of each logged step.
        description: Shown on the progress bar.

    Returns:
        Validation MPSNR of the best step, that step, steps and seconds of the training, parameter count.

    Raises:
        DataError: The patches have no HR-MSI.
        ParamsError: A phase of the progressive training does not fit patches or processes.
        TrainingError: The loss is not finite.
    """
    train, val = (patches.open(split, ARRAYS) for split in ("train", "val"))
    if "msi" not in train.names:
        raise DataError(
            "The patches have no HR-MSI to be fused; set degradation.srf to a sensor, a table, or measured."
        )
    _check_phases(recipe, hardware, patch=train.shape("hr")[-1], scale=int(train.attrs["scale"]))
    module = _untrained(train, recipe, objective)
    result = fit(
        module,
        _Fusing(train, val, recipe),
        params=recipe.optimizer,
        hardware=hardware,
        work=work,
        log=log,
        description=description,
    )
    save_checkpoint(out, weights=result.weights, config=module.config())
    return result.summary(module)


def _untrained(train: PatchArrays, recipe: Recipe, objective: Objective) -> FusionModel:
    attrs = train.attrs
    sample = train.read(spread(len(train), 4 * VALIDATION_PATCHES))
    psf, scale, known = Psf(**attrs["psf"]), int(attrs["scale"]), attrs["response"]
    if known is None:
        # Patches side by side: where two meet, a PSF sees across, which is little of all that it sees.
        low, high = (np.concatenate(list(sample[name]), axis=2) for name in ("lr", "msi"))
        response = estimate_response(low, high, scale=scale, psf=psf)
    else:
        response = np.asarray(known, dtype=np.float64)
    bands, msi_bands = train.shape("hr")[0], train.shape("msi")[0]
    pairing = Pairing(bands, msi_bands, scale, psf, "estimated" if known is None else "given")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        module = recipe.build(pairing, objective, response, patch=train.shape("hr")[-1])
    module.sampling = SamplingParams(
        sampler="ddim",
        steps=recipe.diffusion.validation_steps if recipe.diffusion else 1,
        samples=1,
        residual_decode=False,
        consistency=1,
        tile=train.shape("lr")[-1],
        overlap=0,
        seed=recipe.seed,
    )
    if isinstance(module, FusionFast):
        _check_patch(module, train)
        _measure_residual(module, sample)
    return module


@torch.no_grad()
def _measure_residual(module: FusionFast, sample: Mapping[str, np.ndarray]) -> None:
    """What the start misses along each direction, over training patches: the unit of x_0."""
    hr, lr, msi = (torch.from_numpy(sample[name]) for name in ARRAYS)
    powers = []
    for one in range(len(hr)):
        given = module.given(lr[one : one + 1], msi[one : one + 1])
        powers.append(module.clean(hr[one : one + 1], given).square().mean(dim=(0, 2, 3)))
    module.residual_std.copy_(torch.stack(powers).mean(dim=0).sqrt().clamp_min(1e-4))


def _check_patch(module: FusionFast, train: PatchArrays) -> None:
    """A subspace is estimated from each patch: it needs more LR pixels than directions."""
    bands, height, width = train.shape("lr")
    wanted = min(module.components, bands)
    if height * width <= wanted:
        edge = (math.isqrt(wanted) + 1) * module.scale
        raise ParamsError(
            f"A patch has {height} x {width} LR pixels, too few to estimate a subspace of {wanted} directions from; "
            f"set patches.size to {edge} or more, or fusion_fast.components to less than {height * width}."
        )


def _check_phases(recipe: Recipe, hardware: HardwareParams, *, patch: int, scale: int) -> None:
    for phase in recipe.phases:
        if phase.size > patch or phase.size % scale:
            raise ParamsError(
                f"A phase of hsrdiff.progressive trains on {phase.size} pixels, expected a multiple of the scale "
                f"({scale}) of at most patches.size ({patch})."
            )
        if phase.batch % hardware.devices:
            raise ParamsError(
                f"A phase of hsrdiff.progressive has a batch of {phase.batch}, which {hardware.devices} processes "
                "(hardware.devices) cannot share evenly."
            )
        if phase.trains == "second_half" and hardware.devices > 1:
            raise ParamsError(
                "hsrdiff.progressive trains: second_half needs hardware.devices 1: processes that share a training "
                "must agree on which weights learn from the first step on."
            )
