"""The command that closes what killed processes have left open."""

from collections.abc import Callable
from pathlib import Path

from flows.flow_runs import close_dead_runs
from hsipipe.errors import HsipipeError
from tasks import tracking


def reconcile_all(root: Path, *, say: Callable[[str], object]) -> None:
    """Close the dead runs of this checkout in MLflow and in Prefect.

    Args:
        root: The project; :func:`flows.environment.prepare` was called for it.
        say: Gets a sentence for each run that was closed, or one that says that there was none.

    Raises:
        HsipipeError: A store or server does not answer; what it has open stays for later.
    """
    said: list[str] = []
    left: list[str] = []
    try:
        names = tracking.close_dead_runs(root)
        said = [f"MLflow: {name} was left open by a killed process and is closed as KILLED." for name in names]
    except HsipipeError as error:
        left.append(str(error))
    closed, stay = close_dead_runs(root)
    for sentence in (*said, *(f"Prefect: {sentence}" for sentence in closed)):
        say(sentence)
    if left or stay:
        raise HsipipeError(" ".join([*left, *stay]))
    if not said and not closed:
        say("Nothing was left open by a killed process.")
