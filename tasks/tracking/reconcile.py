"""Mark runs with their process, and close those whose process is gone."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hsipipe.checkout import locks
from hsipipe.locks import wait_for
from hsipipe.model_registry.store import connect, usable
from tasks.running.owner import Life, Owner

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def owner_tags() -> dict[str, str]:
    """Return the tags that identify the owner process, for :func:`reconcile`."""
    me = Owner.me()
    return {
        "hsipipe.host": socket.gethostname(),
        "hsipipe.owner.pid": str(me.pid),
        "hsipipe.owner.created": me.created,
    }


class Reconciled(NamedTuple):
    """Names of open runs.

    Attributes:
        closed: Their process is gone, so they were closed as KILLED.
        undecided: Their process cannot be judged from here, so they stay open.
    """

    closed: list[str]
    undecided: list[str]


def reconcile(client: "MlflowClient", *, elsewhere: bool = False) -> Reconciled:
    """Close the runs of this host name whose process is gone.

    Args:
        client: The store.
        elsewhere: Also close the runs whose process cannot be judged from here, as in another container.
    """
    found = Reconciled([], [])
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    mine = f"attributes.status = 'RUNNING' and tags.`hsipipe.host` = '{socket.gethostname()}'"
    for run in client.search_runs(everywhere, filter_string=mine):
        life = _owner(run.data.tags).life()
        if life is Life.GONE or (elsewhere and life is Life.UNKNOWN):
            client.set_terminated(run.info.run_id, status="KILLED")
            found.closed.append(str(run.info.run_name))
        elif life is Life.UNKNOWN:
            found.undecided.append(str(run.info.run_name))
    return found


def _owner(tags: Mapping[str, str]) -> Owner:
    pid = tags.get("hsipipe.owner.pid", "")
    return Owner(int(pid) if pid.isdecimal() else 0, tags.get("hsipipe.owner.created", ""))


def close_dead_runs(root: Path, *, elsewhere: bool = False) -> Reconciled:
    """Call :func:`reconcile` on the store of the project.

    Raises:
        HsipipeError: The store is unreachable.
    """
    client = connect(root)
    with wait_for(locks(root) / "pipeline_run.lock"), usable(root):
        return reconcile(client, elsewhere=elsewhere)
