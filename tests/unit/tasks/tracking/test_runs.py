"""Runs in a real MLflow store."""

import hashlib
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest

from hsipipe.errors import HsipipeError
from hsipipe.model_registry.store import connect, tracking_uri
from hsipipe.params import load_params
from hsipipe.params.overrides import flatten
from hsipipe.storage.publish import publish
from tasks.running.owner import Owner
from tasks.running.pipeline_run import PIPELINE_RUN
from tasks.tracking import close_dead_runs, registering_run
from tasks.tracking import runs as tracking
from tasks.tracking.runs import stage_run

SHA = hashlib.sha256(b"scenes").hexdigest()


@contextmanager
def run_of(root, stage="degrade", **kwargs):
    params = load_params(root / "params.yaml")
    visible = {"degradation": params.degradation.model_dump(mode="json")}
    with stage_run(root, stage, params=params, visible=visible, digests={"data/raw": SHA}, **kwargs) as tracker:
        yield tracker


def output(root):
    with publish(root / "data/pairs") as out:
        (out / "x").write_text("x", encoding="utf-8")
    return root / "data/pairs"


def test_a_stage_run_says_where_its_numbers_come_from(root, monkeypatch):
    lock = "stages:\n  download:\n    outs:\n    - path: data/raw\n      md5: abc.dir\n"
    (root / "dvc.lock").write_text(lock, encoding="utf-8")
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *command], cwd=root, check=True)
    with run_of(root) as tracker:
        tracker.log(3, {"loss": 0.5})
        tracker.headline({"gain_db": 1.5}, {})
        tracker.finish(output(root), {"pairs": 2, "protocol.hash": "ffff"})
    run = tracker.client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    degradation = flatten({"degradation": load_params(root / "params.yaml").degradation.model_dump()})
    assert run.data.params == {key: str(value) for key, value in degradation.items()}
    assert run.data.params["degradation.psf.kind"] == "bicubic"
    assert run.data.metrics == {"loss": 0.5, "pairs": 2.0}
    tags = run.data.tags
    assert tags["dvc.data/raw"] == "abc.dir"
    assert tags["sha256.data/raw"] == SHA
    assert tags["protocol.hash"] == "ffff"
    assert tags["git.dirty"] == "true"  # dvc.yaml was not committed
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["device"]
    assert len(tags["output.sha256"]) == 64
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("synthetic: data/raw", SHA[:36])
    parent = tracker.client.get_run(tracker.parent_id)
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.metrics == {"gain_db": 1.5}
    assert parent.data.params["sampling.steps"] == str(load_params(root / "params.yaml").sampling.steps)


def test_the_row_of_another_seed_is_recorded_in_letters_that_mlflow_allows(root, caplog):
    params, row = load_params(root / "params.yaml"), "edsr@seed-1"
    given = {"visible": {"methods": {row: {"seed": 1}}}, "digests": {f"models/{row}": SHA}}
    with stage_run(root, f"evaluate@{row}", params=params, **given) as tracker:
        tracker.log(1, {f"gain_db.{row}": 0.5})
        tracker.headline({f"{row}.mpsnr_db": 30.0}, {})
        tracker.finish(output(root), {})
    run = tracker.client.get_run(tracker.run_id)
    assert run.info.run_name == f"evaluate@{row}"
    assert run.data.params == {"methods.edsr:seed-1.seed": "1"}
    assert run.data.metrics == {"gain_db.edsr:seed-1": 0.5}
    assert run.data.tags["sha256.models/edsr:seed-1"] == SHA
    assert tracker.client.get_run(tracker.parent_id).data.metrics == {"edsr:seed-1.mpsnr_db": 30.0}
    assert caplog.messages == []


def test_stages_of_one_pipeline_share_a_parent_and_leave_it_finished(root, monkeypatch):
    monkeypatch.setenv(PIPELINE_RUN, "run-1")
    with run_of(root) as first:
        client = first.client
        assert client.get_run(first.parent_id).info.status == "RUNNING"
    assert client.get_run(first.parent_id).info.status == "FINISHED"
    with run_of(root, "patches") as second:
        assert client.get_run(second.parent_id).info.status == "RUNNING"
    assert second.parent_id == first.parent_id
    monkeypatch.setenv(PIPELINE_RUN, "run-2")
    with run_of(root) as third:
        pass
    assert third.parent_id != first.parent_id


def test_runs_of_dead_processes_are_closed_and_others_are_not(root):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = Owner.of(psutil.Process(child.pid))
    with run_of(root) as tracker:
        client = tracker.client
        tags = {**tracking.owner_tags(), "hsipipe.owner.pid": str(owner.pid), "hsipipe.owner.created": owner.created}
        stale = client.create_run(tracker_experiment(client), tags=tags).info.run_id
        foreign = client.create_run(tracker_experiment(client), tags={**tags, "hsipipe.host": "elsewhere"}).info.run_id
        place = owner.created.partition("@")[2]
        other = {**tags, "hsipipe.owner.created": owner.created.replace(place, place.replace("/", "/9", 1))}
        contained = client.create_run(tracker_experiment(client), tags=other, run_name="contained").info.run_id
        odd = client.create_run(tracker_experiment(client), tags={**tags, "hsipipe.owner.pid": "x"}).info.run_id
    with run_of(root):
        assert client.get_run(stale).info.status == "RUNNING"
    child.communicate()
    with run_of(root) as now:
        assert client.get_run(stale).info.status == "KILLED"
        assert client.get_run(foreign).info.status == "RUNNING"
        assert client.get_run(now.run_id).info.status == "RUNNING"
        assert client.get_run(contained).info.status == client.get_run(odd).info.status == "RUNNING"
    assert close_dead_runs(root).undecided.count("contained") == 1
    assert "contained" in close_dead_runs(root, elsewhere=True).closed
    assert client.get_run(contained).info.status == "KILLED"
    assert client.get_run(foreign).info.status == "RUNNING"


def tracker_experiment(client):
    return client.get_experiment_by_name("hsipipe-synthetic-x4").experiment_id


def test_a_store_that_breaks_later_costs_the_record_and_not_the_stage(root, monkeypatch, caplog):
    done = []
    with run_of(root) as tracker:

        def broken(*_args, **_kwargs):
            raise OSError("database is gone")

        monkeypatch.setattr(tracker.client, "log_batch", broken)
        tracker.log(1, {"loss": 1.0})
        tracker.flush()
        tracker.tag("more", "tags")
        done.append(True)
    assert done
    assert [record.message for record in caplog.records if "MLflow" in record.message] == [
        "MLflow stopped answering (database is gone); continue without recording."
    ]


def test_a_store_that_cannot_be_opened_is_one_clear_error(root, monkeypatch):
    (root / "notes.txt").write_text("no database\n" * 100, encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'notes.txt'}")
    with pytest.raises(HsipipeError, match=r"MLflow at sqlite:.*notes.txt cannot be used"):
        connect(root)


def test_system_metrics_are_recorded(root, monkeypatch):
    monkeypatch.setattr(tracking, "SAMPLING_S", 0.05)
    with run_of(root, system_metrics=True) as tracker:
        deadline = tracking.time.monotonic() + 30
        while not any(name.startswith("system/cpu") for name in tracker.client.get_run(tracker.run_id).data.metrics):
            assert tracking.time.monotonic() < deadline
            tracking.time.sleep(0.05)


def test_artifacts_lie_in_the_project(root):
    picture = root / "curve.png"
    picture.write_bytes(b"png")
    with run_of(root) as tracker:
        tracker.artifact(picture, "figures")
    assert list((root / "mlartifacts").rglob("figures/curve.png"))


def test_the_file_of_the_project_is_waited_for_while_another_process_holds_it(root, monkeypatch):
    assert tracking_uri(root) == f"sqlite:///{root / 'mlflow.db'}?timeout=60"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(root) == "http://127.0.0.1:5000"


def test_a_store_that_breaks_before_the_run_exists_is_one_clear_error(root, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise ConnectionError("refused\nwith a tail")

    monkeypatch.setattr(tracking, "reconcile", refuse)
    with pytest.raises(HsipipeError, match=r"^MLflow at sqlite:.*mlflow.db cannot be used: refused Start the server"):
        with run_of(root):
            pass


def test_the_run_of_a_version_is_named_only_for_its_bytes(root):
    with run_of(root) as tracker:
        client = tracker.client
        client.create_registered_model("hsipipe-test")
        client.create_model_version("hsipipe-test", "folder", tracker.run_id, tags={"sha256": SHA})
        assert registering_run(tracker, "hsipipe-test", 1, SHA) == tracker.run_id
        assert registering_run(tracker, "hsipipe-test", 1, "0" * 64) is None
        assert registering_run(tracker, "hsipipe-test", 2, SHA) is None
        assert registering_run(tracker, "another", 1, SHA) is None
        tracker.log(1, {"loss": 0.5})
    assert client.get_run(tracker.run_id).data.metrics == {"loss": 0.5}
