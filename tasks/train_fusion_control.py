"""Stage: train the other control of the fusion, a plain residual network on both images."""

from hsipipe.artifacts import FusionControlCheckpoint, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("model", "residual_fusion", "hardware"), trains=True, fuses=True)
def train_fusion_control(run: StageRun, store: PatchStore) -> FusionControlCheckpoint:
    """Train residual-fusion, which shares nothing with the diffusion but the patches."""
    from hsipipe.training.fusion import train_fusion as train
    from hsipipe.training.fusion_recipes import RECIPES

    summary = train(
        store,
        run.out,
        recipe=RECIPES["residual-fusion"](run.params),
        objective="regression",
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
        description="train_fusion_control",
    )
    return run.finish(FusionControlCheckpoint, summary)
