"""Stage: encode the patches once, so that the diffusion is trained on latents alone."""

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "hardware"), fuses=False)
def latents(run: StageRun, store: PatchStore, gae: GaeCheckpoint) -> LatentStore:
    """Write whitened latents of HR and interpolated LR patches, keyed by the autoencoder's digest."""
    from hsipipe.training.latents import encode_latents

    return run.finish(LatentStore, encode_latents(store, gae, run.out, hardware=run.params.hardware))
