"""Stage: train a control of the fusion, the same network as a one-step regression."""

from hsipipe.artifacts import FusionRegressionCheckpoint, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "fusion_fast", "ddpmfus", "hsrdiff", "hardware"), trains=True, fuses=True)
def train_fusion_baseline(run: StageRun, store: PatchStore) -> FusionRegressionCheckpoint:
    """Train the network of ``model.name`` with the budget of the diffusion, without noise."""
    from hsipipe.training.fusion import train_fusion as train
    from hsipipe.training.fusion_recipes import RECIPES

    summary = train(
        store,
        run.out,
        recipe=RECIPES[run.params.model.name](run.params),
        objective="regression",
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
        description="train_fusion_baseline",
    )
    return run.finish(FusionRegressionCheckpoint, summary)
