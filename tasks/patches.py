"""Stage: cut the pairs into training patches."""

from hsipipe.artifacts import DegradedPairs, PatchStore
from tasks.stage import StageRun, stage


@stage(reads=("patches",))
def patches(run: StageRun, pairs: DegradedPairs) -> PatchStore:
    """Write one sharded store per split."""
    from hsipipe.patches.extract import extract_patches

    return run.finish(PatchStore, extract_patches(pairs, run.out, patches=run.params.patches))
