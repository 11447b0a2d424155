"""Stage: download the scenes of the data set and check their sha256."""

from hsipipe.artifacts import RawScenes
from tasks.stage import StageRun, stage


@stage(reads=("dataset",))
def download(run: StageRun) -> RawScenes:
    """Fetch or make the scenes of ``dataset.name``."""
    from hsipipe.datasets.prepare import prepare_scenes

    return run.finish(RawScenes, prepare_scenes(run.params.dataset, run.out))
