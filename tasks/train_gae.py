"""Stage: train the group autoencoder."""

from hsipipe.artifacts import GaeCheckpoint, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "gae", "hardware"), trains=True, fuses=False)
def train_gae(run: StageRun, store: PatchStore) -> GaeCheckpoint:
    """Train the autoencoder and measure the whitening of its latents."""
    from hsipipe.training.gae import train_gae as train

    summary = train(
        store,
        run.out,
        gae=run.params.gae,
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
    )
    return run.finish(GaeCheckpoint, summary)
