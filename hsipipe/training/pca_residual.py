"""Training of pca-residual, the control beside the diffusion."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hsipipe.artifacts import PatchStore
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.bicubic import upsample
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.consistency import Resampler
from hsipipe.methods.checkpoint import save_checkpoint
from hsipipe.methods.pca_residual import PcaResidual
from hsipipe.params import ControlParams, HardwareParams
from hsipipe.patches.loader import StepBatches
from hsipipe.training.gae import VALIDATION_PATCHES, spread, training_pixels
from hsipipe.training.loop import Log, fit
from hsipipe.training.losses import gae_loss
from hsipipe.training.validation import may_be_turned, mean_psnr_db


class _SuperResolution:
    """Predict HR patches from their LR patches."""

    def __init__(self, train: PatchArrays, val: PatchArrays, params: ControlParams) -> None:
        self.seed = params.seed
        self._weights = params.loss
        self._batches = StepBatches(
            train.path, ("hr", "lr"), batch=params.optimizer.batch, seed=params.seed, augment=may_be_turned(val)
        )
        self._val = val.read(spread(len(val), VALIDATION_PATCHES))

    def loss(self, module: PcaResidual, step: int, part: slice) -> Tensor:
        batch, device = self._batches.at(step, part), module.basis.device
        hr, lr = batch["hr"].to(device), batch["lr"].to(device)
        # Outside the module: in mixed precision its inside has fewer digits than the image.
        resampler = Resampler(*hr.shape[2:], scale=module.scale, like=lr, psf=module.psf)
        return gae_loss(resampler.up(lr) + module(lr), hr, self._weights)

    def validate(self, module: PcaResidual) -> Mapping[str, float]:
        return {"val_mpsnr_db": mean_psnr_db(module, self._val)}


def train_pca_residual(
    patches: PatchStore,
    out: Path,
    *,
    control: ControlParams,
    hardware: HardwareParams,
    work: Path,
    log: Log,
) -> dict[str, float]:
    """Train the control on pairs of LR and HR patches and write its checkpoint into `out`.

    The checkpoint itself asks for no back-projection, and none is made in validation.

    Args:
        patches: Train and validation patches.
        out: Existing empty folder.
        control: Sizes, loss, optimiser, seed.
        hardware: Device and precision.
        work: Folder of the resume point.
        log: Gets the metrics of each logged step.

    Returns:
        Validation MPSNR of the best step, that step, steps and seconds of the training, parameter count.

    Raises:
        TrainingError: The loss is not finite.
    """
    train, val = (patches.open(split) for split in ("train", "val"))
    module = _untrained(train, control)
    task = _SuperResolution(train, val, control)
    result = fit(
        module, task, params=control.optimizer, hardware=hardware, work=work, log=log, description="train_control"
    )
    save_checkpoint(out, weights=result.weights, config=module.config())
    return result.summary(module)


def _untrained(train: PatchArrays, control: ControlParams) -> PcaResidual:
    """The model at the start: bicubic, with the components of the training spectra."""
    attrs = train.attrs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(control.seed)
        module = PcaResidual(
            train.shape("hr")[0],
            components=control.components,
            width=control.width,
            blocks=control.blocks,
            scale=int(attrs["scale"]),
            psf=Psf(**attrs["psf"]),
        )
    sample = train.read(spread(len(train), 8 * VALIDATION_PATCHES))
    missing = torch.from_numpy(sample["hr"] - upsample(sample["lr"], module.scale))
    module.set_components(
        training_pixels(train, seed=control.seed), missing.permute(0, 2, 3, 1).reshape(-1, module.bands)
    )
    return module
