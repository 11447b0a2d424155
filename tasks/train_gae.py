"""Stage: train a group autoencoder."""

from hsipipe.artifacts import GaeCheckpoint, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("gae", "hardware"), each="autoencoder", trains=True)
def train_gae(run: StageRun, store: PatchStore) -> GaeCheckpoint:
    """Train the autoencoder and measure the whitening of its latents."""
    from hsipipe.methods.catalogue import gae_settings
    from hsipipe.training.train_gae import train_gae as train

    gae = gae_settings(run.params, run.item)
    summary = train(store, run.out, gae=gae, hardware=run.params.hardware, work=run.work, log=run.log)
    return run.finish(GaeCheckpoint, summary)
