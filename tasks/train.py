"""Stage: train a method; a method without training is published unchanged."""

from hsipipe.artifacts import GaeCheckpoint, LatentStore, PatchStore, TrainedMethod
from tasks.stage import StageRun, stage


@stage(reads=("methods", "hardware"), each="method", trains=True)
def train(
    run: StageRun,
    store: PatchStore,
    gae: GaeCheckpoint | None,
    latents: LatentStore | None,
    mean: TrainedMethod | None,
) -> TrainedMethod:
    """Train the network; the step that validates best is kept."""
    from hsipipe.methods.catalogue import method_settings, write_source
    from hsipipe.training.train import train_method
    from tasks.running.rows import Row

    row = Row.parse(run.item)
    settings = method_settings(run.params, row.method, seed=row.seed)
    summary = train_method(
        row.method,
        settings,
        store,
        run.out,
        latents=None if latents is None or gae is None else (latents, gae),
        mean=mean,
        hardware=run.params.hardware,
        work=run.work,
        log=run.log,
    )
    write_source(run.root, row.method, settings, run.out)
    return run.finish(TrainedMethod, summary)
