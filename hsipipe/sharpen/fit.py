"""Train a network on one region of a scene within a time, and choose its checkpoint on another region."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.errors import TrainingError
from hsipipe.methods.base import Trainable, TrainingData
from hsipipe.methods.catalogue import methods
from hsipipe.methods.device import device_for
from hsipipe.methods.group_residual import GroupResidual
from hsipipe.params import HardwareParams, OptimizerParams
from hsipipe.patches.draws import Draws
from hsipipe.patches.sampler import batch_samples
from hsipipe.sharpen.candidates import network_settings, started
from hsipipe.sharpen.patches import cut_patches
from hsipipe.sharpen.reduced import Reduced
from hsipipe.sharpen.regions import Regions
from hsipipe.sharpen.scores import score_valid
from hsipipe.training.deadline import Deadline
from hsipipe.training.loop import fit

logger = logging.getLogger(__name__)

_VALIDATIONS = 16
_LEAST_STEPS = 40
"""Steps below which a training is not worth its start."""
_TIMED_STEPS = 3
_HARDWARE = HardwareParams(accelerator="auto", precision="32-true", compile=False, devices=1)


class _SceneTask:
    """Loss on patches of one region, validation on another region with its surroundings as context."""

    def __init__(
        self, method: Trainable, patches: PatchArrays, reduced: Reduced, regions: Regions, *, batch: int
    ) -> None:
        self.seed = int(network_settings(method.name).seed)
        self._method, self._patches, self._batch = method, patches, batch
        self._reduced, self._regions = reduced, regions
        self._turns = reduced.psf.is_centred(reduced.scale)

    def loss(self, module: nn.Module, step: int, part: slice) -> Tensor:
        samples = batch_samples(len(self._patches), self._batch, seed=self.seed, step=step)
        arrays = self._patches.read(samples.index[part], codes=samples.code[part] if self._turns else None)
        draws = Draws(self.seed, step, self._batch, part)
        device = next(module.parameters()).device
        batch = self._method.cut({name: torch.from_numpy(values) for name, values in arrays.items()}, draws)
        return self._method.loss(module, {name: images.to(device) for name, images in batch.items()}, draws)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        box = self._regions.choose
        sr = self._reduced.predict(self._method.with_network(module), box)
        inside = self._reduced.valid[box.slices()[1:]]
        score = score_valid(sr, self._reduced.hr[box.slices()], inside, scale=self._reduced.scale)
        return {"val_mpsnr_db": score.mpsnr_db}


def fit_network(
    name: str,
    reduced: Reduced,
    regions: Regions,
    *,
    seconds: float,
    wavelength_nm: NDArray[Any] | None,
    start: GroupResidual | None = None,
) -> tuple[Trainable | None, str]:
    """Train a network on the region for fitting, and keep the step that is best on the region for choosing.

    Args:
        name: A trained method of the catalogue.
        reduced: The scene and its degradation.
        regions: The regions.
        seconds: Wall-clock time.
        wavelength_nm: Band centres (C,) in nm; None: unknown.
        start: Network of this method whose weights the training starts from; None: random weights. It is returned
            unchanged if there is no time for a training.

    Returns:
        The trained network, or None, and what became of it, a clause.
    """
    begun = time.monotonic()
    patches = None if regions.fit is None else cut_patches(reduced, regions.fit, wavelength_nm=wavelength_nm)
    if patches is None:
        return None, "too few pixels to train it"
    method, params = _initial(name, TrainingData(patches, patches), start)
    task = _SceneTask(method, patches, reduced, regions, batch=params.batch)
    per_step, per_validation = _timed(method, task, params.batch)
    left = seconds - (time.monotonic() - begun)
    optimizer = _schedule(params, left - (_VALIDATIONS + 1) * per_validation, per_step)
    if optimizer is not None:
        return _trained(method, task, optimizer, left)
    if start is None:
        return None, f"the time suffices for less than {_LEAST_STEPS} steps"
    method.network().cpu().eval()
    return method, "no time for further steps"


def _initial(name: str, data: TrainingData, start: GroupResidual | None) -> tuple[Trainable, OptimizerParams]:
    """Return a method before its first step, and how it is trained."""
    settings, kind = network_settings(name), cast(type[Trainable], methods()[name])
    if start is None:
        return kind.untrained(settings, data).named(name), settings.optimizer
    settings = started(settings)
    return start.carried_to(data, settings).named(name), settings.optimizer


def _trained(
    method: Trainable, task: _SceneTask, optimizer: OptimizerParams, seconds: float
) -> tuple[Trainable | None, str]:
    network = method.network()
    try:
        with TemporaryDirectory(prefix="hsipipe-") as work:
            result = fit(
                network,
                task,
                params=optimizer,
                hardware=_HARDWARE,
                work=Path(work),
                log=lambda step, metrics: None,
                description=f"train {method.name}",
                deadline=Deadline.ending_in(seconds),
            )
    except TrainingError as error:
        logger.warning("%s: %s", method.name, error)
        return None, "its training failed"
    network.load_state_dict(result.weights)
    network.cpu().eval()
    return method, f"{result.steps} steps, best at step {result.best_step}"


def _timed(method: Trainable, task: _SceneTask, batch: int) -> tuple[float, float]:
    """Return the seconds of a step and of a validation; the first step is not counted."""
    network = method.network().to(device_for(_HARDWARE.accelerator))
    seconds = []
    for step in range(_TIMED_STEPS + 1):
        begun = time.perf_counter()
        task.loss(network, step, slice(0, batch)).backward()  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - begun)
    network.zero_grad(set_to_none=True)
    begun = time.perf_counter()
    with torch.no_grad():
        task.validate(network)
    return min(seconds[1:]), time.perf_counter() - begun


def _schedule(optimizer: OptimizerParams, seconds: float, per_step: float) -> OptimizerParams | None:
    """Fit the number of steps to the time; None: there is too little."""
    # AdamW and the average of the weights are not in the time of a step.
    steps = min(optimizer.steps, int(seconds / (1.3 * per_step)))
    if steps < _LEAST_STEPS:
        return None
    every = max(1, steps // _VALIDATIONS)
    changes = {"steps": steps, "validate_every": every, "save_every": steps + 1}
    return optimizer.model_copy(update={**changes, "warmup": min(optimizer.warmup, steps // 10)})
