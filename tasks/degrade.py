"""Stage: make LR-HSI and HR-MSI from the scenes."""

from hsipipe.artifacts import DegradedPairs, RawScenes
from tasks.stage import StageRun, stage


@stage(reads=("split", "degradation"))
def degrade(run: StageRun, scenes: RawScenes) -> DegradedPairs:
    """Split the scenes and degrade each part."""
    from hsipipe.degradation.pairs import make_pairs

    summary = make_pairs(scenes, run.out, split=run.params.split, degradation=run.params.degradation)
    return run.finish(DegradedPairs, summary)
