"""The pipeline as a flow of stages. DVC decides which of them have work to do."""

from prefect import flow

from flows.prefect_support.zombie_runs import forget_run, note_run
from hsipipe.artifacts import RegisteredModel
from tasks.degrade import degrade
from tasks.download import download
from tasks.evaluate import evaluate
from tasks.latents import latents
from tasks.patches import patches
from tasks.register import register
from tasks.report import report
from tasks.running import dvc
from tasks.running.pipeline_run import pipeline_session
from tasks.running.project import find_root
from tasks.train_baseline import train_baseline
from tasks.train_control import train_control
from tasks.train_diffusion import train_diffusion
from tasks.train_fusion import train_fusion
from tasks.train_fusion_baseline import train_fusion_baseline
from tasks.train_fusion_control import train_fusion_control
from tasks.train_gae import train_gae


@flow(
    name="pipeline",
    on_completion=[forget_run],
    on_failure=[forget_run],
    on_crashed=[forget_run],
    on_cancellation=[forget_run],
)
def pipeline(overrides: list[str] | None = None, timeout_minutes: float | None = None) -> RegisteredModel:
    """Bring every stage up to date, from the scenes to the registered model.

    Args:
        overrides: ``group.key=value``, written into params.yaml; undone unless the flow succeeds.
        timeout_minutes: Time limit of the whole flow; the running stage is stopped.
    """
    root = find_root()
    note_run(root)
    timeout_s = None if timeout_minutes is None else 60 * timeout_minutes
    with pipeline_session(root, timeout_s=timeout_s), dvc.overridden(root, overrides or []):
        scenes = download()
        pairs = degrade(scenes)
        store = patches(pairs)
        gae = train_gae(store)
        whitened = latents(store, gae)
        diffusion = train_diffusion(store, gae, whitened)
        regression = train_baseline(store, gae, whitened)
        control = train_control(store)
        fusion = train_fusion(store)
        fusion_regression = train_fusion_baseline(store)
        fusion_control = train_fusion_control(store)
        single, pair = (gae, diffusion, regression, control), (fusion, fusion_regression, fusion_control)
        evaluation = evaluate(pairs, *single, *pair)
        report(evaluation)
        return register(pairs, *single, *pair, evaluation)
