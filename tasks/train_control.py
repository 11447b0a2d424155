"""Stage: train the other control, a residual network on principal components."""

from hsipipe.artifacts import ControlCheckpoint, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "control", "hardware"), trains=True, fuses=False)
def train_control(run: StageRun, store: PatchStore) -> ControlCheckpoint:
    """Train pca-residual, which shares nothing with the diffusion but the patches."""
    from hsipipe.training.pca_residual import train_pca_residual

    summary = train_pca_residual(
        store,
        run.out,
        control=run.params.control,
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
    )
    return run.finish(ControlCheckpoint, summary)
