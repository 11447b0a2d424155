"""Record one parent run per pipeline run and one nested run per stage."""

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsipipe.checkout import locks
from hsipipe.credentials import without_credentials
from hsipipe.errors import TrainingPausedError
from hsipipe.json_text import parse_json
from hsipipe.locks import wait_for
from hsipipe.model_registry.store import connect, experiment_id, first_line, tracking_uri, usable
from hsipipe.params import Params
from hsipipe.params.overrides import flatten
from hsipipe.storage.manifest import digest
from hsipipe.storage.publish import write_text
from tasks.running.dvc import out_hashes
from tasks.running.git import changed, git
from tasks.running.owner import Owner
from tasks.running.pipeline_run import PIPELINE_RUN
from tasks.running.process import dvc_ancestor
from tasks.running.project import model_name
from tasks.tracking.reconcile import owner_tags, reconcile

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

FLUSH_S = 2.0
BATCH = 1000
SAMPLING_S = 2
TAG_LENGTH = 5000
_LETTERS = str.maketrans({"@": ":", "(": None, ")": None})
DIGEST_LENGTH = 36
"""Longest digest that MLflow stores for a dataset; the tags hold the whole sha256."""


class StageTracker:
    """The MLflow run of one stage.

    Once the run exists, a failure of MLflow is logged once and the stage continues without recording.
    """

    def __init__(self, client: "MlflowClient", run_id: str, *, parent_id: str, experiment: str, dataset: str) -> None:
        self.client, self.run_id, self.parent_id, self.experiment = client, run_id, parent_id, experiment
        self.dataset = dataset
        self._has_dataset = False
        self._pending: list[Metric] = []
        self._flushed = time.monotonic()
        self._broken = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of a step; they are sent every few seconds."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(_key(name), float(value), now, step) for name, value in metrics.items()]
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Send the pending metrics."""
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), BATCH):
            self.attempt(self.client.log_batch, self.run_id, metrics=pending[start : start + BATCH])
        self._flushed = time.monotonic()

    def tag(self, key: str, value: object) -> None:
        """Set a tag of the run."""
        self.attempt(self.client.set_tag, self.run_id, _key(key), value)

    def artifact(self, path: Path, folder: str, *, run_id: str | None = None) -> None:
        """Store a file or a folder with the run, or with another one."""
        send = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        self.attempt(send, run_id or self.run_id, str(path), folder)

    def headline(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Record metrics and tags on the parent run, where pipeline runs are compared; a known value is not repeated.

        MLflow draws two values of a metric as a curve.
        """
        self.attempt(self._headline, {_key(name): float(value) for name, value in metrics.items()}, tags)

    def _headline(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, RunTag

        known, now = self.client.get_run(self.parent_id).data.metrics, int(time.time() * 1000)
        new = [Metric(name, value, now, 0) for name, value in metrics.items() if known.get(name) != value]
        notes = [RunTag(_key(name), value) for name, value in tags.items()]
        for start in range(0, len(new) or 1, BATCH):
            batch = new[start : start + BATCH]
            self.client.log_batch(self.parent_id, metrics=batch, tags=() if start else notes)

    def datasets(self, folders: Mapping[Path, str]) -> None:
        """Record the inputs of the run: folder -> sha256 of its manifest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=f"{self.dataset}: {folder.parent.name}/{folder.name}",
                    digest=value[:DIGEST_LENGTH],
                    source_type="local",
                    source=json.dumps({"uri": folder.as_uri()}),
                ),
                [InputTag("mlflow.data.context", folder.name)],
            )
            for folder, value in folders.items()
        ]
        if inputs:
            self.attempt(self.client.log_inputs, self.run_id, inputs)
            self._has_dataset = True

    def finish(self, output: Path, summary: Mapping[str, float | int | str]) -> None:
        """Record the stage's numbers and the digest of its output."""
        numbers = {name: value for name, value in summary.items() if not isinstance(value, str)}
        self.log(0, numbers)
        self.flush()
        for name, value in summary.items():
            if isinstance(value, str):
                self.tag(name, value)
        self.tag("output.sha256", digest(output))
        if not self._has_dataset:  # the first stage has no inputs: record its output
            self.datasets({output: digest(output)})

    def attempt(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call MLflow; log a failure instead of raising it."""
        if self._broken:
            return
        try:
            call(*args, **kwargs)
        except Exception as error:
            self._broken = True
            logger.warning("MLflow stopped answering (%s); continue without recording.", first_line(error))


@contextmanager
def stage_run(
    root: Path,
    stage: str,
    *,
    params: Params,
    visible: Mapping[str, Any],
    digests: Mapping[str, str],
    system_metrics: bool = False,
) -> Iterator[StageTracker]:
    """Open the nested run of a stage, under the parent of its pipeline run.

    Args:
        root: The project.
        stage: Name of the stage.
        params: All parameters; they name the experiment and are recorded on the parent.
        visible: Groups that the stage reads, recorded on its run.
        digests: Folder relative to the root -> sha256 of its manifest, for each input.
        system_metrics: Record the use of CPU, memory and GPU.

    Raises:
        HsipipeError: MLflow fails before the run exists.
    """
    client = connect(root)
    name = model_name(params)
    with wait_for(locks(root) / "pipeline_run.lock"), usable(root):
        experiment = experiment_id(client, root, name)
        reconcile(client)
        parent_id = _open_parent(client, root, experiment, params)
        tags = {**common_tags(root), "mlflow.parentRunId": parent_id, "hsipipe.stage": stage}
        run = client.create_run(experiment, run_name=stage, tags=tags)
    tracker = StageTracker(client, run.info.run_id, parent_id=parent_id, experiment=name, dataset=params.dataset.name)
    _record_inputs(tracker, root, visible=visible, digests=digests)
    monitor = _start_monitor(run.info.run_id, root) if system_metrics else None
    status = "FINISHED"
    try:
        yield tracker
    except Exception as error:
        status = "KILLED" if isinstance(error, TrainingPausedError) else "FAILED"
        tracker.tag("error", without_credentials(f"{type(error).__name__}: {error}")[:TAG_LENGTH])
        raise
    except BaseException:  # SIGTERM, SIGINT
        status = "KILLED"
        raise
    finally:
        tracker.flush()
        tracker.tag("device", _device(params))
        if monitor is not None:
            tracker.attempt(monitor.finish)
        for run_id in (run.info.run_id, parent_id):
            tracker.attempt(client.set_terminated, run_id, status=status)


def pipeline_key() -> str:
    """Return the key of the pipeline run: from the environment, else the dvc ancestor, else this process."""
    if given := os.environ.get(PIPELINE_RUN):
        return given
    owner = dvc_ancestor() or Owner.me()
    return f"dvc-{owner.pid}-{owner.created}"


def _open_parent(client: "MlflowClient", root: Path, experiment: str, params: Params) -> str:
    path = root / ".hsipipe" / "pipeline_run.json"
    mine = {"key": pipeline_key(), "store": without_credentials(tracking_uri(root)), "experiment": experiment}
    try:
        known = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if {key: known.get(key) for key in mine} == mine:
        parent_id = str(known["run_id"])
        for key, value in owner_tags().items():
            client.set_tag(parent_id, key, value)
        client.update_run(parent_id, status="RUNNING")
        return parent_id
    name = f"pipeline {time.strftime('%Y-%m-%d %H:%M:%S')}"
    tags = {**common_tags(root), "hsipipe.pipeline": mine["key"]}
    run = client.create_run(experiment, run_name=name, tags=tags)
    client.log_batch(run.info.run_id, params=_as_params(params.model_dump(mode="json")))
    write_text(path, json.dumps({**mine, "run_id": run.info.run_id}) + "\n")
    return str(run.info.run_id)


def _record_inputs(
    tracker: StageTracker,
    root: Path,
    *,
    visible: Mapping[str, Any],
    digests: Mapping[str, str],
) -> None:
    from mlflow.entities import RunTag

    hashes = out_hashes(root)
    tags = [RunTag(_key(f"dvc.{path}"), hashes[path]) for path in digests if path in hashes]
    tags += [RunTag(_key(f"sha256.{path}"), value) for path, value in digests.items()]
    tracker.attempt(tracker.client.log_batch, tracker.run_id, params=_as_params(visible), tags=tags)
    tracker.datasets({root / path: value for path, value in digests.items()})


def common_tags(root: Path) -> dict[str, str]:
    """Return the tags of every run: owner process and code."""
    return {**owner_tags(), **_git_tags(root)}


def _key(name: str) -> str:
    """Name a parameter, tag or metric in the letters that MLflow allows: ``edsr:seed-1`` for the row edsr@seed-1."""
    return name.translate(_LETTERS)


def _as_params(tree: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(_key(key), without_credentials(str(value))) for key, value in flatten(tree).items()]


def _start_monitor(run_id: str, root: Path) -> Any:
    from mlflow.system_metrics import system_metrics_monitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    kind: Any = system_metrics_monitor.SystemMetricsMonitor
    monitor = kind(run_id, sampling_interval=SAMPLING_S, tracking_uri=tracking_uri(root))
    monitor.start()
    return monitor


def _device(params: Params) -> str:
    torch = sys.modules.get("torch")
    if torch is not None and params.hardware.accelerator != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"


def _git_tags(root: Path) -> dict[str, str]:
    """Return the commit and the state of the working tree as tags; empty outside a git repository."""
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        return {}
    return {
        "mlflow.source.name": "hsipipe",  # with it the MLflow UI shows the commit; it hides tags of mlflow
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
        "git.commit": commit,
        "git.dirty": str(bool(changed(root))).lower(),
    }
