"""Stage: train the model that fuses LR-HSI and HR-MSI."""

from hsipipe.artifacts import FusionCheckpoint, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "fusion_fast", "ddpmfus", "hsrdiff", "hardware"), trains=True, fuses=True)
def train_fusion(run: StageRun, store: PatchStore) -> FusionCheckpoint:
    """Train the diffusion of ``model.name``; the step that validates best is kept."""
    from hsipipe.training.fusion import train_fusion as train
    from hsipipe.training.fusion_recipes import RECIPES

    summary = train(
        store,
        run.out,
        recipe=RECIPES[run.params.model.name](run.params),
        objective="diffusion",
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
        description="train_fusion",
    )
    return run.finish(FusionCheckpoint, summary)
