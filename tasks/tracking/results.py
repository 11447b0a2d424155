"""Record the results of a pipeline run on its parent run: all rows, what was registered, description, report."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hsipipe.artifacts.registration import Registration
from hsipipe.credentials import without_credentials
from hsipipe.model_registry.store import connect, store_address, usable
from tasks.tracking.runs import StageTracker

NOTE = "mlflow.note.content"
"""Tag that the MLflow UI shows as the description of a run."""
REPORT = "report"
"""Folder of the report in the artifacts of the parent run."""
_SHIPPED = ("mpsnr_db", "sam_deg")


def record_results(
    tracker: StageTracker, metrics: Mapping[str, Any], *, entry: Registration | None = None, report: Path | None = None
) -> None:
    """Record the results on the parent run; a repeated call with the same numbers adds nothing.

    Args:
        tracker: Run of a stage.
        metrics: The tree of metrics.json.
        entry: The registry's entry; None: the stage register has not run.
        report: Folder of the report; None: not written.
    """
    from hsipipe.protocols.metrics import METRICS
    from tasks.tracking.texts import run_description

    rows, keys = metrics["models"], [metric.key for metric in METRICS]
    numbers = {f"{name}.{key}": row[key] for name, row in rows.items() for key in keys if row.get(key) is not None}
    protocol = metrics["protocol"]
    tags = {"dataset": tracker.dataset, "protocol.name": protocol["name"], "protocol.hash": protocol["hash"]}
    tags[NOTE] = run_description(metrics, entry)
    if entry is not None and entry.method is not None:
        shipped = rows[entry.method]
        numbers |= {f"shipped.{key}": shipped[key] for key in _SHIPPED if shipped[key] is not None}
        tags |= {"shipped.name": entry.method, "shipped.version": f"{entry.name}/{entry.version}"}
    tracker.headline(numbers, tags)
    _record_test_set(tracker, metrics)
    if report is not None:
        tracker.artifact(report, REPORT, run_id=tracker.parent_id)


def _record_test_set(tracker: StageTracker, metrics: Mapping[str, Any]) -> None:
    """Record the test scenes as a data set of the parent run; the hash of the protocol tells test sets apart."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    protocol = metrics["protocol"]
    source = json.dumps({"protocol": protocol["name"], "test_scenes": len(metrics["scenes"])})
    test_set = Dataset(tracker.dataset, protocol["hash"], source_type="local", source=source)
    inputs = [DatasetInput(test_set, [InputTag("mlflow.data.context", "test")])]
    tracker.attempt(tracker.client.log_inputs, tracker.parent_id, inputs)


class PipelineRun(NamedTuple):
    """The parent run of a stage.

    Attributes:
        url: Its page in the MLflow UI.
        command: Command that starts the UI at this address, in the project's folder; empty: a server runs.
        seconds: Time since it started.
    """

    url: str
    command: str
    seconds: float


def pipeline_run(tracker: StageTracker, root: Path) -> PipelineRun | None:
    """Return the run of the pipeline that a stage belongs to; None: MLflow does not answer."""
    found: list[Any] = []
    tracker.attempt(lambda: found.append(tracker.client.get_run(tracker.parent_id).info))
    if not found:
        return None
    info = found[0]
    # A report is mailed: the path of the project stays out of it.
    address = without_credentials(store_address(root)).replace(f"sqlite:///{root}/", "sqlite:///")
    url, command = _page(address, f"/#/experiments/{info.experiment_id}/runs/{info.run_id}")
    return PipelineRun(url, command, time.time() - info.start_time / 1000)


def how_to_open(root: Path, name: str) -> str:
    """Return how to open an experiment in the MLflow UI, or say that it does not exist. Create nothing.

    Raises:
        HsipipeError: MLflow cannot be used.
    """
    client, address = connect(root), without_credentials(store_address(root))
    with usable(root):
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return f"no experiment {name} in {address}"
    url, command = _page(address, f"/#/experiments/{experiment.experiment_id}")
    return f"{url} after: {command}" if command else url


def _page(address: str, page: str) -> tuple[str, str]:
    """Return the URL of a page of the MLflow UI, and the command that starts the UI; empty: a server runs."""
    page += "?workflowType=machine_learning"  # without it the UI opens as one of language models
    if address.startswith("http"):
        parts = urlsplit(address)  # whose name and password are stars, which a browser would send
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/") + page, ""
    return f"http://127.0.0.1:5000{page}", f"mlflow ui --backend-store-uri {address}"
