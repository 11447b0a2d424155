"""Stage: train a control, the same network as a one-step regression."""

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore, RegressionCheckpoint
from tasks.stage import StageRun, stage


@stage(reads=("model", "diffusion", "hardware"), trains=True, fuses=False)
def train_baseline(run: StageRun, store: PatchStore, gae: GaeCheckpoint, latents: LatentStore) -> RegressionCheckpoint:
    """Train the network with the budget of the diffusion, without noise."""
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
        regression=True,
    )
    return run.finish(RegressionCheckpoint, summary)
