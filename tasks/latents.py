"""Stage: encode the patches into latents, once for all trainings on these latents."""

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("hardware",), each="autoencoder")
def latents(run: StageRun, store: PatchStore, gae: GaeCheckpoint) -> LatentStore:
    """Write the whitened latents of the training and validation patches."""
    from hsipipe.training.latents import encode_latents

    return run.finish(LatentStore, encode_latents(store, gae, run.out, hardware=run.params.hardware))
