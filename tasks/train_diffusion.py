"""Stage: train the latent diffusion."""

from hsipipe.artifacts import DiffusionCheckpoint, GaeCheckpoint, LatentStore, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "diffusion", "hardware"), trains=True, fuses=False)
def train_diffusion(run: StageRun, store: PatchStore, gae: GaeCheckpoint, latents: LatentStore) -> DiffusionCheckpoint:
    """Train the network; the step that validates best is kept."""
    from hsipipe.training.diffusion import train_diffusion as train

    summary = train(
        store,
        gae,
        latents,
        run.out,
        diffusion=run.params.diffusion,
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
        regression=False,
    )
    return run.finish(DiffusionCheckpoint, summary)
