"""Scheduled retraining: ingest, pipeline, gate, and promotion of a better model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.pipeline import pipeline
from flows.prefect_support.zombie_runs import forget_run, note_run
from hsipipe.artifacts import RegisteredModel
from hsipipe.checkout import find_root
from hsipipe.credentials import without_credentials
from hsipipe.datasets.inbox import Arrival
from hsipipe.errors import StageFailedError, TransferFailedError, one_line
from tasks.retraining import new_scenes
from tasks.retraining.notifications import Notification, notify
from tasks.retraining.promote import promote_challenger, unfit
from tasks.retraining.verdict import Verdict, last_verdict
from tasks.running.pipeline_run import pipeline_session, run_task
from tasks.running.retries import RETRIES, retry_delay_s


@flow(
    name="retrain",
    on_completion=[forget_run],
    on_failure=[forget_run],
    on_crashed=[forget_run],
    on_cancellation=[forget_run],
)
def retrain(timeout_minutes: float | None = None) -> str:
    """Ingest new scenes, bring every stage up to date, and promote the model if it passes the gate.

    The alias `champion` moves last, after everything is in the remote storage.

    Args:
        timeout_minutes: Time limit of the whole flow; after it nothing is promoted.

    Returns:
        The outcome for the model in a sentence.
    """
    root = find_root()
    note_run(root)
    patience: dict[str, Any] = {"retries": RETRIES, "retry_delay_seconds": exponential_backoff(retry_delay_s())}
    with _telling(root) as told:
        new_scenes.check_retraining(root)
        with pipeline_session(root, timeout_s=None if timeout_minutes is None else 60 * timeout_minutes) as session:
            fetch.with_options(**patience)()
            told.details += [f"{a.name}: {a.outcome} {a.reason}".strip() for a in receive()]
            model = pipeline()
            verdict = gate(model)
            push.with_options(**patience)(verdict)
            told.details += verdict.sentences()
            if session.is_over():
                raise StageFailedError("The time limit has passed before the promotion.")
            told.is_moving = verdict.promote
            told.text = promote_if_better(verdict)
            told.is_promoted = verdict.promote
    return told.text


@task(cache_policy=NO_CACHE, retry_condition_fn=lambda _task, _run, state: _is_of_the_network(state))
def fetch() -> bool:
    """Fetch the results of other machines from DVC's remote storage."""
    return new_scenes.fetch(find_root(), on_line=get_run_logger().info)


@task(cache_policy=NO_CACHE)
def receive() -> list[Arrival]:
    """Ingest new scenes from the inbox and version them with DVC."""
    return new_scenes.receive(find_root(), on_line=get_run_logger().info)


@task(cache_policy=NO_CACHE)
def gate(_model: RegisteredModel) -> Verdict:
    """Compare challenger and champion on the same scenes, in a child process as a stage."""
    root, say = find_root(), get_run_logger().info
    if reasons := unfit(root, on_line=say):
        return Verdict.without_comparison(root, reasons)
    run_task(root, "gate", on_line=say)
    return last_verdict(root)


@task(cache_policy=NO_CACHE, retry_condition_fn=lambda _task, _run, state: _is_of_the_network(state))
def push(_verdict: Verdict) -> bool:
    """Push data, outputs and the run cache to DVC's remote storage."""
    return new_scenes.push(find_root(), on_line=get_run_logger().info)


@task(cache_policy=NO_CACHE)
def promote_if_better(verdict: Verdict) -> str:
    """Move the alias `champion` if the verdict allows it."""
    return promote_challenger(find_root(), verdict, on_line=get_run_logger().info)


class _Told:
    """Content of the notification at the end.

    Attributes:
        text: Outcome for the model.
        details: Further lines.
        is_moving: The alias may have moved.
        is_promoted: The alias has moved.
    """

    def __init__(self) -> None:
        self.text, self.is_moving, self.is_promoted = "", False, False
        self.details: list[str] = []


@contextmanager
def _telling(root: Path) -> Iterator[_Told]:
    told, log = _Told(), get_run_logger()
    try:
        yield told
    except BaseException as error:
        reason = without_credentials(one_line(error))
        moved = "The champion may have moved (see `hsipipe models`)" if told.is_moving else "Nothing is promoted"
        notify(Notification(root.name, "failed", f"{moved}: {reason}", told.details), log=log)
        raise
    notify(Notification(root.name, "promoted" if told.is_promoted else "kept", told.text, told.details), log=log)


def _is_of_the_network(state: Any) -> bool:
    try:
        state.result()
    except TransferFailedError:
        return True
    except Exception:
        return False
    return False
