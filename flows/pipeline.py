"""The pipeline as a flow of stages; DVC decides which of them run."""

from prefect import flow, get_run_logger

from flows.prefect_support.stage_task import run_stage
from flows.prefect_support.zombie_runs import forget_run, note_run
from hsipipe.artifacts import RegisteredModel
from hsipipe.checkout import find_root
from tasks.compare import compare
from tasks.degrade import degrade
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.latents import latents
from tasks.patches import patches
from tasks.register import register
from tasks.report import report
from tasks.running import dvc
from tasks.running.durations import forecast
from tasks.running.pipeline_run import pipeline_session
from tasks.running.stages import items, labels
from tasks.train import train
from tasks.train_gae import train_gae


@flow(
    name="pipeline",
    on_completion=[forget_run],
    on_failure=[forget_run],
    on_crashed=[forget_run],
    on_cancellation=[forget_run],
)
def pipeline(overrides: list[str] | None = None, timeout_minutes: float | None = None) -> RegisteredModel:
    """Bring every stage up to date, from the scenes to the registered model and the report.

    Args:
        overrides: ``group.key=value``, written into params.yaml; undone unless the flow succeeds.
        timeout_minutes: Time limit of the whole flow; the running stage is stopped.
    """
    root = find_root()
    note_run(root)
    timeout_s = None if timeout_minutes is None else 60 * timeout_minutes
    with pipeline_session(root, timeout_s=timeout_s), dvc.overridden(root, overrides or []) as params:
        if expected := forecast(root, labels(params)):
            get_run_logger().info(expected)
        scenes = run_stage(download)
        pairs = run_stage(degrade, scenes)
        store = run_stage(patches, pairs)
        gae = {name: run_stage(train_gae, store, item=name) for name in items(params, "train_gae")}
        encoded = [run_stage(latents, store, gae[name], item=name) for name in gae]
        trained = [run_stage(train, store, *encoded, item=row) for row in items(params, "train")]
        scores = [run_stage(evaluate, pairs, *trained, item=row) for row in items(params, "evaluate")]
        comparison = run_stage(compare, *scores)
        model = run_stage(register, pairs, comparison)
        run_stage(report, pairs, comparison, model)
        return model
