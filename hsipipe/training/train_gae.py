"""Training of the group autoencoder, and the statistics that whiten its latents."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hsipipe.artifacts import PatchStore
from hsipipe.artifacts.no_data import VALID
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.bicubic import upsample
from hsipipe.methods.checkpoint import save_checkpoint
from hsipipe.methods.device import device_for
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.windows import WindowPlan, plan_windows
from hsipipe.methods.losses import at_valid, cube_loss
from hsipipe.params import GaeParams, HardwareParams
from hsipipe.patches.loader import StepBatches
from hsipipe.patches.sample import PATCHES, mask_of, pixels_of, spread, training_pixels
from hsipipe.training.loop import Log, fit
from hsipipe.training.outcome import write_outcome
from hsipipe.training.perceptual import PerceptualLoss


class _Reconstruction:
    """Task of reconstructing HR patches."""

    def __init__(self, train: PatchArrays, val: PatchArrays, params: GaeParams) -> None:
        self.seed = params.seed
        self._params = params
        self._batches = StepBatches(train.path, ("hr",), batch=params.optimizer.batch, seed=params.seed)
        sample = val.read(spread(len(val), PATCHES))
        self._val, self._mask = torch.from_numpy(sample["hr"]), mask_of(sample)
        self._perceptual = PerceptualLoss() if params.loss.perceptual else None

    def loss(self, module: GroupAutoencoder, step: int, part: slice) -> Tensor:
        batch = {name: images.to(_device(module)) for name, images in self._batches.at(step, part).items()}
        hr = batch["hr"]
        sr = at_valid(module(hr), hr, batch.get(VALID))
        total = cube_loss(sr, hr, self._params.loss)
        if self._perceptual is not None:
            total = total + self._params.loss.perceptual * self._perceptual(sr, hr)
        return total

    def validate(self, module: GroupAutoencoder) -> Mapping[str, float]:
        hr = self._val.to(_device(module))
        errors = [(module(patch[None]) - patch).square() for patch in hr]
        if self._mask is None:
            return {"val_psnr_db": -10 * float(torch.stack([error.mean() for error in errors]).mean().log10())}
        kept = torch.cat([pixels_of(error.cpu(), mask[None]) for error, mask in zip(errors, self._mask, strict=True)])
        return {"val_psnr_db": -10 * float(kept.mean().log10())}


def train_gae(
    patches: PatchStore,
    out: Path,
    *,
    gae: GaeParams,
    hardware: HardwareParams,
    work: Path,
    log: Log,
) -> dict[str, float | str]:
    """Train the autoencoder on the HR patches and write its checkpoint into `out`.

    With encoder `identity` there are no weights to train; only the whitening of the bands is measured.

    Args:
        patches: Train and validation patches.
        out: Existing empty folder.
        gae: Sizes, loss, optimizer, seed.
        hardware: Device and precision.
        work: Folder of the resume point.
        log: Called with the metrics of each logged step.

    Returns:
        Parameter count, number of groups and, if it was trained, the numbers of the training, see
        :meth:`hsipipe.training.outcome.Fit.summary`; validation is the PSNR of the reconstruction.

    Raises:
        DataError: The patches have fewer bands than a group, or no wavelengths for its windows.
        TrainingError: The loss is not finite, also after restarts with a smaller learning rate.
    """
    train, val = (patches.open(split, ("hr",)) for split in ("train", "val"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(gae.seed)
        module = GroupAutoencoder(train.shape("hr")[0], gae, windows=_windows(train, gae))
    summary: dict[str, float | str] = {}
    if gae.encoder == "network":
        module.start_at_principal_components(training_pixels(train, seed=gae.seed))
        task = _Reconstruction(train, val, gae)
        result = fit(module, task, params=gae.optimizer, hardware=hardware, work=work, log=log, description="train_gae")
        module.load_state_dict(result.weights)
        summary = result.summary(module, metric="val_psnr_db")
    # At the paper's width, whitening would take minutes on a CPU.
    module = module.to(device_for(hardware.accelerator))
    module.eval().requires_grad_(False)
    whiten(module, patches.open("train"))
    save_checkpoint(out, weights=module.state_dict(), config=module.config())
    write_outcome(out, summary)
    return {
        **summary,
        "parameters": sum(p.numel() for p in module.parameters()),
        "groups": module.plan.count,
    }


def whiten(module: GroupAutoencoder, train: PatchArrays) -> None:
    """Measure mean and std (G, k) of the raw latents over pixels of training patches and store them in `module`.

    The standard deviation of the residual is that of the whitened HR latent minus the whitened latent of the
    interpolated LR.
    """
    patches, device = train.read(spread(len(train), 8 * PATCHES)), _device(module)
    latents, low = (
        torch.cat([module.encode(torch.from_numpy(patch[None]).to(device)).cpu() for patch in cubes])
        for cubes in (patches["hr"], upsample(patches["lr"], train.attrs["scale"]))
    )
    if (mask := mask_of(patches)) is not None:
        latents, low = (
            it.permute(1, 2, 0, 3, 4)[:, :, torch.from_numpy(mask)][None, ..., None] for it in (latents, low)
        )
    mean, std = latents.mean(dim=(0, 3, 4)), latents.std(dim=(0, 3, 4)).clamp_min(1e-6)
    residual = ((latents - low) / std[..., None, None]).std(dim=(0, 3, 4)).clamp_min(1e-6)
    module.set_whitening(mean=mean, std=std, residual_std=residual)


def _windows(train: PatchArrays, gae: GaeParams) -> WindowPlan | None:
    """Plan the spectral windows from the centres of the training bands; None if `gae` has no windows."""
    if gae.window_nm is None:
        return None
    nm = train.attrs["wavelength_nm"]
    return plan_windows(nm, width_nm=gae.window_nm, n_subs=int(gae.n_subs), n_ovls=gae.n_ovls)


def _device(module: GroupAutoencoder) -> torch.device:
    return module.latent_mean.device  # the module may have no parameters
