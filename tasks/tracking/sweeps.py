"""One MLflow run for a sweep; the pipeline runs of its points lie under it."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsipipe.credentials import without_credentials
from hsipipe.params import Params
from hsipipe.storage.publish import write_text
from tasks.running.locks import wait_for
from tasks.running.project import locks, model_name
from tasks.tracking.runs import StageTracker, common_tags, owner_tags, reconcile
from tasks.tracking.store import connect, experiment_id, tracking_uri, usable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_HEADLINE = ("mpsnr_db", "mssim", "sam_deg", "ergas", "seconds_per_image")


@contextmanager
def sweep_run(root: Path, name: str, *, title: str, key: str, params: Params) -> Iterator[StageTracker]:
    """The run of a sweep; the same sweep started again goes on in the same run.

    Args:
        root: The project.
        name: Name of the sweep.
        title: What it is about.
        key: Names what is swept: the same points from the same code.
        params: Names the experiment.
    """
    client = connect(root)
    experiment = model_name(params)
    with wait_for(locks(root) / "pipeline_run.lock"), usable(root):
        reconcile(client)
        run_id = _open(client, root, name, title=title, key=key, experiment=experiment_id(client, root, experiment))
    tracker = StageTracker(client, run_id, parent_id=run_id, experiment=experiment, dataset=params.dataset.name)
    status = "FINISHED"
    try:
        yield tracker
    except Exception:
        status = "FAILED"
        raise
    except BaseException:  # SIGTERM, SIGINT
        status = "KILLED"
        raise
    finally:
        tracker.attempt(client.set_terminated, run_id, status=status)


def log_point(tracker: StageTracker, label: str, metrics: Mapping[str, Any]) -> None:
    """Record a point's numbers, ``<label>/<row>.<metric>`` each.

    Args:
        tracker: The sweep's run.
        label: The point's.
        metrics: The tree of its metrics.json.
    """
    point = re.sub(r"[^\w.-]+", "-", label)
    tracker.headline(
        {
            f"{point}/{name}.{column}": row[column]
            for name, row in metrics["models"].items()
            for column in _HEADLINE
            if row.get(column) is not None
        }
    )


def _open(client: "MlflowClient", root: Path, name: str, *, title: str, key: str, experiment: str) -> str:
    from mlflow.exceptions import MlflowException

    path = root / ".hsipipe" / "sweeps" / name / "run.json"
    mine = {"key": key, "store": without_credentials(tracking_uri(root)), "experiment": experiment}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if {entry: known.get(entry) for entry in mine} == mine:
            client.update_run(known["run_id"], status="RUNNING")
            for tag, value in owner_tags().items():
                client.set_tag(known["run_id"], tag, value)
            return str(known["run_id"])
    except (OSError, ValueError, MlflowException):  # the first time, or the run was deleted
        pass
    tags = {**common_tags(root), "hsipipe.sweep": name, "mlflow.note.content": title}
    run = client.create_run(experiment, run_name=f"sweep {name}", tags=tags)
    write_text(path, json.dumps({**mine, "run_id": run.info.run_id}) + "\n")
    return str(run.info.run_id)
