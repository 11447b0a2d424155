"""Training of a method: one trainer for all of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore, TrainedMethod
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.psf import Psf
from hsipipe.methods.base import Trainable, TrainingData
from hsipipe.methods.catalogue import methods
from hsipipe.methods.domain import Domain
from hsipipe.params import Group, HardwareParams, TrainingParams
from hsipipe.patches.draws import Draws
from hsipipe.patches.loader import StepBatches
from hsipipe.patches.sample import PATCHES, spread
from hsipipe.training.loop import Log, fit
from hsipipe.training.outcome import fault_of, write_outcome


class _MethodTask:
    """The loss and the validation of a method, for the loop."""

    def __init__(self, method: Trainable, data: TrainingData, training: TrainingParams) -> None:
        self.seed = training.seed
        self._method, self._batch = method, training.optimizer.batch
        source, turned = method.batches_from(data), _may_be_turned(data.val)
        self._batches = StepBatches(source, method.ARRAYS, batch=self._batch, seed=self.seed, augment=turned)
        self.val = data.val.read(spread(len(data.val), PATCHES))

    def loss(self, module: nn.Module, step: int, part: slice) -> Tensor:
        draws = Draws(self.seed, step, self._batch, part)
        batch = self._method.cut(self._batches.at(step, part), draws)
        device = next(module.parameters()).device
        return self._method.loss(module, {name: images.to(device) for name, images in batch.items()}, draws)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        return self._method.with_network(module).judge(self.val)


def train_method(
    name: str,
    settings: Group,
    store: PatchStore,
    out: Path,
    *,
    latents: tuple[LatentStore, GaeCheckpoint] | None = None,
    mean: TrainedMethod | None = None,
    hardware: HardwareParams,
    work: Path,
    log: Log,
) -> dict[str, float | str]:
    """Train a method and write it into `out`; the step with the best validation is kept.

    A method without training is written unchanged.

    Args:
        name: Name of its entry in the catalogue.
        settings: An instance of its `Settings`.
        store: Train and validation patches.
        out: Existing empty folder.
        latents: Latents of these patches and the autoencoder that encoded them, for a method trained on latents.
        mean: The regression whose residual a posterior is trained on.
        hardware: Device, precision, processes.
        work: Folder of the resume point.
        log: Called with the metrics of each logged step.

    Returns:
        The validation of the best step, that step, steps and seconds of the training, restarts, skipped steps,
        parameter count, and the fault of a training that collapsed or ended at its start; empty for a method without
        training. All but the seconds are written into `out`, too.

    Raises:
        DataError: The patches lack what the method needs.
        ParamsError: The settings do not fit the patches or the hardware.
        IntegrityError: The latents belong to another autoencoder.
        TrainingError: The loss is not finite, also after restarts with a smaller learning rate.
    """
    kind = methods()[name]
    arrays = kind.ARRAYS if issubclass(kind, Trainable) else ("hr", "lr")
    train, val = (_opened(store.path / f"{split}.zarr", arrays) for split in ("train", "val"))
    encoded, gae = latents or (None, None)
    data = TrainingData(train, val, *(None if it is None else it.path for it in (encoded, gae, mean)))
    method = kind.untrained(settings, data).named(name)
    summary: dict[str, float | str] = {}
    if isinstance(method, Trainable) and isinstance(settings, TrainingParams):
        method.within(Domain.of(train))
        summary = _fit(method, data, settings, hardware=hardware, work=work, log=log)
    method.save(out)
    if summary:
        about = {} if latents is None else {"autoencoder_fault": fault_of(latents[1].path)}
        of_mean = "" if mean is None else fault_of(mean.path)
        about |= {"fault": f"its regression: {of_mean}"} if of_mean else {}
        write_outcome(out, {**summary, **about})
    return summary


def _fit(method: Trainable, data: TrainingData, settings: TrainingParams, **machine: Any) -> dict[str, float | str]:
    method.check_hardware(settings, machine["hardware"])
    network, task = method.network(), _MethodTask(method, data, settings)
    result = fit(network, task, params=settings.optimizer, description=method.name, **machine)
    network.load_state_dict(result.weights)
    network.eval()
    return {**result.summary(network, metric=method.JUDGED_BY), **method.calibrate(task.val)}


def _may_be_turned(patches: PatchArrays) -> bool:
    """Return True if HR and LR patches stay consistent when flipped or transposed: the PSF must be symmetric."""
    return Psf(**patches.attrs["psf"]).is_centred(int(patches.attrs["scale"]))


def _opened(path: Path, arrays: tuple[str, ...]) -> PatchArrays:
    # The method refuses missing arrays, with a message that names the setting.
    present = PatchArrays(path).names
    return PatchArrays(path, arrays=tuple(name for name in arrays if name in present))
