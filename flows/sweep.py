"""A sweep as a flow: its points one after another, each a whole pipeline; then one table and one figure."""

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.prefect_support.zombie_runs import forget_run, note_run
from hsipipe.errors import StageFailedError
from hsipipe.evaluation.sweep_table import PointResult
from tasks.running import sweep as sweeps
from tasks.running.pipeline_run import pipeline_session
from tasks.running.project import find_root
from tasks.running.sweep import Plan, Point, plan_sweep
from tasks.tracking import StageTracker, log_point, sweep_run


@flow(
    name="sweep",
    on_completion=[forget_run],
    on_failure=[forget_run],
    on_crashed=[forget_run],
    on_cancellation=[forget_run],
)
def sweep(
    name: str, overrides: list[str] | None = None, timeout_minutes: float | None = None, stop: bool = False
) -> Plan:
    """Run every point that is not finished, one at a time, and show all of them side by side.

    Args:
        name: A sweep that there is, or the path of a ``.yaml`` file with one.
        overrides: Other parameters of all points as ``group.key=value``.
        timeout_minutes: The running point is ended when the whole sweep takes longer; the rest is left for next time.
        stop: Stop at the first point that fails.

    Raises:
        StageFailedError: A point failed; the others are finished and in the table.
    """
    root, logger = find_root(), get_run_logger()
    note_run(root)
    timeout_s = None if timeout_minutes is None else 60 * timeout_minutes
    failed: dict[str, str] = {}
    with pipeline_session(root, timeout_s=timeout_s) as session:
        plan = plan_sweep(root, name, overrides or [])
        for sentence in plan.skipped:
            logger.warning("left out: %s", sentence)
        with sweep_run(root, plan.sweep.name, title=plan.sweep.title, key=plan.key, params=plan.params) as tracker:
            with sweeps.kept_workspace(plan):
                for point in plan.points:
                    state = run_point(plan, point, tracker, return_state=True)
                    if state.is_failed():
                        failed[point.label] = state.message or "no message"
                    if (failed and stop) or session.is_over():
                        break
            for path in sweeps.write_results(plan):
                tracker.artifact(path, "sweep")
            _report(plan, failed)
    return plan


@task(name="point", task_run_name="{point.label}", cache_policy=NO_CACHE)
def run_point(plan: Plan, point: Point, tracker: StageTracker) -> PointResult:
    """One point: the pipeline with other parameters."""
    result = sweeps.run_point(plan, point, sweep_run_id=tracker.run_id, on_line=get_run_logger().info)
    log_point(tracker, point.label, result.metrics)
    return result


def _report(plan: Plan, failed: dict[str, str]) -> None:
    missing = [point.label for point in plan.points if sweeps.finished(plan, point) is None]
    if missing:
        reasons = "; ".join(f"{label}: {failed.get(label, 'not begun')}" for label in missing)
        raise StageFailedError(
            f"{len(missing)} of {len(plan.points)} points of the sweep {plan.sweep.name} are missing: {reasons} "
            "The same command again goes on with them."
        )
