"""Run a stage as a Prefect task; DVC decides whether it has work to do."""

from typing import Any, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from hsipipe.artifacts import Artifact
from hsipipe.checkout import find_root
from hsipipe.errors import StageUnreachableError
from tasks.running import dvc
from tasks.running.retries import RETRIES, retry_delay_s
from tasks.running.stages import address
from tasks.stage import Stage

R = TypeVar("R", bound=Artifact)


def run_stage(stage: Stage[R], *inputs: Artifact | None, item: str = "") -> R:
    """Run a stage as a task of the flow that calls this.

    Args:
        stage: The stage.
        inputs: Handles of its inputs: they order the tasks, DVC reads the files.
        item: The method, row or autoencoder, for a stage that runs once for each.
    """

    def body(*_inputs: Artifact | None) -> R:
        logger = get_run_logger()
        outcome = dvc.repro(find_root(), address(stage.name, item), on_line=logger.info)
        logger.info("%s: %s", stage.label(item), outcome.value)
        return stage.output.in_project(find_root(), item)

    run: Any = task(
        name=stage.name,
        task_run_name=stage.label(item),
        description=stage.__doc__,
        cache_policy=NO_CACHE,
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(retry_delay_s()),
        # A failed training would fail again; an unreachable server may be available later.
        retry_condition_fn=_was_unreachable,
    )(body)
    result: R = run(*inputs)
    return result


def _was_unreachable(_task: Any, _run: Any, state: Any) -> bool:
    try:
        state.result()
    except StageUnreachableError:
        return True
    except Exception:
        return False
    return False
