"""Training of the latent network: the diffusion, or the same network as a one-step regression."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, smooth_l1_loss

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore
from hsipipe.artifacts.patch_arrays import PatchArrays
from hsipipe.degradation.psf import Psf
from hsipipe.diffusion.targets import diffuse, to_x0, training_target
from hsipipe.errors import IntegrityError
from hsipipe.methods.checkpoint import save_checkpoint
from hsipipe.methods.dmgasr.gae import GroupAutoencoder
from hsipipe.methods.dmgasr.latent_net import LatentNet
from hsipipe.methods.dmgasr.method import Dmgasr, load_gae
from hsipipe.methods.networks.unet import Unet
from hsipipe.params import DiffusionParams, HardwareParams, SamplingParams
from hsipipe.patches.loader import StepBatches
from hsipipe.storage.manifest import digest
from hsipipe.training.gae import VALIDATION_PATCHES, spread
from hsipipe.training.loop import Log, fit, generator_for
from hsipipe.training.losses import gae_loss
from hsipipe.training.validation import may_be_turned, mean_psnr_db

_NORMS: dict[str, Callable[..., Tensor]] = {
    "l1": l1_loss,
    "l2": mse_loss,
    "huber": partial(smooth_l1_loss, beta=0.5),
}


class _Denoising:
    """Predict the diffusion's target from noisy latents, or x_0 from nothing (regression)."""

    def __init__(
        self,
        latents: PatchArrays,
        val: PatchArrays,
        gae: GroupAutoencoder,
        params: DiffusionParams,
    ) -> None:
        self.seed = params.seed
        self._gae, self._params = gae, params
        self._batches = StepBatches(
            latents.path, ("hr", "lr"), batch=params.optimizer.batch, seed=params.seed, augment=may_be_turned(val)
        )
        # Of its own, so that another way of sampling needs no new training.
        self._sampling = SamplingParams(
            sampler=params.validation_sampler,
            steps=params.validation_steps,
            samples=1,
            # Of denoising, noise that the latents do not hold would stay, and hide how good the latents are.
            residual_decode=Psf(**val.attrs["psf"]).changes(int(val.attrs["scale"])),
            consistency=0,
            tile=val.shape("hr")[-1],
            overlap=0,
            seed=params.seed,
        )
        self._val = val.read(spread(len(val), VALIDATION_PATCHES))

    def loss(self, module: LatentNet, step: int, part: slice) -> Tensor:
        batch, device = self._batches.at(step, part), next(module.parameters()).device
        z_hr, z_lr = batch["hr"].to(device), batch["lr"].to(device)
        x0 = module.clean(z_hr, z_lr, self._gae.residual_std.to(device))
        if module.objective == "regression":
            prediction = module(torch.zeros_like(x0), z_lr, x0.new_zeros(len(x0)))
            return self._distance(prediction, x0, x0_hat=prediction, module=module, z=(z_hr, z_lr))
        generator, total = generator_for(self.seed, step, stream=2), self._params.optimizer.batch
        gamma = module.schedule.draw(total, generator=generator, terminal_share=self._params.terminal_share)
        gamma = gamma[part].to(device)
        noise = torch.randn(total, *x0.shape[1:], generator=generator)[part].to(device)
        noisy = diffuse(x0, noise, gamma)
        prediction = module(noisy, z_lr, gamma)
        target = training_target(module.target, x0=x0, noise=noise, gamma=gamma)
        x0_hat = to_x0(module.target, prediction, x_t=noisy, gamma=gamma)
        return self._distance(prediction, target, x0_hat=x0_hat, module=module, z=(z_hr, z_lr))

    def _distance(
        self, prediction: Tensor, target: Tensor, *, x0_hat: Tensor, module: LatentNet, z: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The loss in latent space and between the cubes that estimate and truth decode to."""
        weights = self._params.loss
        total = weights.target * _NORMS[weights.norm](prediction, target)
        if not (weights.l1 or weights.sam or weights.gradient):
            return total
        z_hr, z_lr = z
        gae = self._gae.to(z_hr.device)
        with torch.no_grad():
            truth = gae.decode(z_hr)
        return total + gae_loss(gae.decode(module.latent(x0_hat, z_lr, gae.residual_std)), truth, weights)

    def validate(self, module: LatentNet) -> Mapping[str, float]:
        model = Dmgasr(self._gae.to(next(module.parameters()).device), module, sampling=self._sampling)
        return {"val_mpsnr_db": mean_psnr_db(model, self._val)}


def train_diffusion(
    patches: PatchStore,
    gae: GaeCheckpoint,
    latents: LatentStore,
    out: Path,
    *,
    diffusion: DiffusionParams,
    hardware: HardwareParams,
    work: Path,
    log: Log,
    regression: bool = False,
) -> dict[str, float]:
    """Train the latent network and write its checkpoint into `out`.

    Args:
        patches: Validation patches, for MPSNR in pixel space.
        gae: Trained autoencoder.
        latents: Latents that this autoencoder made.
        out: Existing empty folder.
        diffusion: Network, schedule, optimiser.
        hardware: Device and precision.
        work: Folder of the resume point.
        log: Gets the metrics of each logged step.
        regression: Train the control instead.

    Returns:
        Validation MPSNR of the best step, that step, steps and seconds of the training, parameter count.

    Raises:
        IntegrityError: The latents belong to another autoencoder.
        TrainingError: The loss is not finite.
    """
    train, val = latents.open("train"), patches.open("val")
    if train.attrs["gae_digest"] != digest(gae.path):
        raise IntegrityError("The latents were made by another autoencoder; run the stage latents again.")
    module = load_gae(gae.path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(diffusion.seed)
        net = LatentNet(
            Unet(module.latent_channels, diffusion.unet, patch=val.shape("hr")[-1]),
            objective="regression" if regression else "diffusion",
            schedule=diffusion.schedule,
            steps=diffusion.steps,
            space=diffusion.space,
            target=diffusion.target,
            scale_input=diffusion.scale_input,
            scale=int(val.attrs["scale"]),
            psf=Psf(**val.attrs["psf"]),
        )
    task = _Denoising(train, val, module, diffusion)
    result = fit(
        net,
        task,
        params=diffusion.optimizer,
        hardware=hardware,
        work=work,
        log=log,
        description="train_baseline" if regression else "train_diffusion",
    )
    save_checkpoint(out, weights=result.weights, config=net.config())
    return result.summary(net)
