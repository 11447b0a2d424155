"""A sweep through a real `dvc exp run`: killed after its first point, then started again."""

import csv
import json
import os
import signal
import subprocess
import time

import pytest

from tasks.running import saved_checkout
from tasks.running.process import end_group, start
from tasks.tracking.store import connect

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_S = 300.0
SWEEP = """
title: Two numbers of steps
figure: {kind: lines, x: sampling.steps, title: network evaluations}
points:
  - {label: 1 step, set: {sampling.steps: 1}}
  - {label: 3 steps, set: {sampling.steps: 3}}
"""


def git(root, *arguments):
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def state(root):
    """What a user would miss."""
    files = ("params.yaml", "prefect.yaml", "dvc.lock", "reports/metrics.json", "reports/stages/register.json")
    texts = {name: (root / name).read_text(encoding="utf-8") for name in files}
    return texts | {"status": git(root, "status", "--porcelain"), "branch": git(root, "symbolic-ref", "HEAD")}


def finished(root):
    return {path for path in (root / ".hsipipe/sweeps/two").glob("*.json") if path.name != "run.json"}


def kill_after_the_first_point(root, env):
    child = start("flows", "sweep", "two.yaml", cwd=root, env=env)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not finished(root):
            assert child.poll() is None, child.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        end_group(child)
        child.stdout.close()
    (first,) = finished(root)
    return first


def test_a_sweep_that_was_killed_goes_on_and_leaves_the_project_as_it_was(own_project, run, environment, prefect_api):
    root, env = own_project, {**environment, "PREFECT_API_URL": prefect_api}
    (root / "two.yaml").write_text(SWEEP, encoding="utf-8")
    with (root / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# not committed\n")
    with (root / "prefect.yaml").open("a", encoding="utf-8") as file:
        file.write("# staged\n")
    git(root, "add", "prefect.yaml")
    before = state(root)
    first = kill_after_the_first_point(root, env)
    assert (root / "params.yaml").read_text(encoding="utf-8") != before["params.yaml"]
    assert saved_checkout.is_saved(root)
    written = first.stat().st_mtime_ns

    again = run("-m", "flows", "sweep", "two.yaml", cwd=root, env={"PREFECT_API_URL": prefect_api}, timeout=600)
    said = again.stdout + again.stderr
    assert again.returncode == 0, said
    assert "1 step: finished earlier" in said
    assert first.stat().st_mtime_ns == written
    assert len(finished(root)) == 2
    assert state(root) == before
    assert not saved_checkout.is_saved(root)

    folder = root / "reports/sweeps/two"
    rows = list(csv.DictReader((folder / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["point"], row["nfe"]) for row in rows if row["row"] == "dmgasr"] == [("1 step", "1"), ("3 steps", "3")]
    assert {row["row"] for row in rows if row["kind"] == "control"} == {"regression", "pca-residual"}
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "3 steps" in (folder / "table.md").read_text(encoding="utf-8")
    assert "3 steps" in again.stdout

    client = connect(root)
    experiment = client.get_experiment_by_name("hsipipe-synthetic-x4").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`hsipipe.sweep` = 'two'")
    assert parent.info.status == "FINISHED"
    assert {"1-step/dmgasr.mpsnr_db", "3-steps/regression.sam_deg"} <= parent.data.metrics.keys()
    assert {file.path for file in client.list_artifacts(parent.info.run_id, "sweep")} >= {"sweep/figure.png"}
    points = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.data.params["sampling.steps"] for run in points} == {"1", "3"}
    # Models of points are to be compared, not used.
    assert len(client.search_model_versions("name = 'hsipipe-synthetic-x4'")) == 1
    metrics = json.loads(next(iter(finished(root))).read_text(encoding="utf-8"))["metrics"]
    assert metrics["protocol"]["hash"]
