"""Flow runs whose processes are killed: closed by whoever starts next, and their deployment's slot is free again."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE_S = 180.0

# Takes the place of the download: says that it has begun, then takes for ever.
ENDLESS = """
import time
from hsipipe.artifacts import RawScenes
from tasks.stage import StageRun, stage

@stage(reads=("dataset",))
def download(run: StageRun) -> RawScenes:
    (run.root / "begun").touch()
    time.sleep(3600)
    return run.finish(RawScenes, {})
"""


def wait_until(condition, child, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert child.poll() is None, log.read_text(encoding="utf-8")
        if found := condition():
            return found
        time.sleep(0.2)
    pytest.fail(f"did not happen in time:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def begin(environment, tmp_path):
    """Start ``python -m flows ...`` with its output in a file; what is left is killed."""
    children = []

    def begin(*arguments, cwd, env):
        log = tmp_path / f"{len(children)}.log"
        with log.open("w", encoding="utf-8") as stream:
            child = subprocess.Popen(
                [sys.executable, "-m", "flows", *arguments],
                cwd=cwd,
                env={**environment, **env},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        children.append(child)
        return child, log

    yield begin
    for child in children:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


def notes(root):
    return [json.loads(path.read_text(encoding="utf-8")) for path in (root / ".hsipipe/flow_runs").glob("*.json")]


def kill(pid):
    process = psutil.Process(pid)
    process.kill()
    psutil.wait_procs([process], timeout=PATIENCE_S)


def test_after_kill_9_of_serve_and_its_flow_the_next_scheduled_run_runs(own_project, begin, prefect_api):
    env = {"PREFECT_API_URL": prefect_api, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    download = own_project / "tasks" / "download.py"
    original = download.read_bytes()
    download.write_text(ENDLESS, encoding="utf-8")
    serving, log = begin("serve", "--interval", "4", cwd=own_project, env=env)
    wait_until((own_project / "begun").exists, serving, log)
    (note,) = notes(own_project)
    assert note["api"] == prefect_api
    serving.kill()
    serving.wait()
    kill(note["pid"])
    with httpx.Client(base_url=prefect_api, timeout=10) as client:
        assert client.get(f"/flow_runs/{note['id']}").json()["state_type"] == "RUNNING"
        deployment = client.get("/deployments/name/pipeline/scheduled").json()
        assert deployment["global_concurrency_limit"]["active_slots"] == 1

        download.write_bytes(original)
        serving, log = begin("serve", "--interval", "4", cwd=own_project, env=env)
        query = {"deployments": {"id": {"any_": [deployment["id"]]}}}

        def completed():
            runs = client.post("/flow_runs/filter", json=query).json()
            return [run for run in runs if run["state_type"] == "COMPLETED"]

        (run, *_) = wait_until(completed, serving, log)
        assert run["auto_scheduled"]
        assert run["start_time"] is not None
        killed = client.get(f"/flow_runs/{note['id']}").json()
        assert killed["state_type"] == "CRASHED"
        tasks = client.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [note["id"]]}}}).json()
        assert {task["state_type"] for task in tasks} <= {"CRASHED", "COMPLETED"}
    assert f"{note['name']} ({note['id']}) was left open by a killed process" in log.read_text(encoding="utf-8")
    assert note["id"] not in {entry["id"] for entry in notes(own_project)}


def test_a_killed_pipeline_leaves_no_temporary_server_and_reconcile_closes_its_run(
    new_project, begin, run, environment, tmp_path
):
    root = new_project(tmp_path / "hsipipe")
    (root / "tasks" / "download.py").write_text(ENDLESS, encoding="utf-8")
    env = {"PREFECT_HOME": str(root / ".hsipipe" / "prefect")}
    child, log = begin("pipeline", cwd=root, env=env)
    wait_until((root / "begun").exists, child, log)
    (note,) = notes(root)
    assert (note["api"], note["pid"]) == (None, child.pid)
    below = psutil.Process(child.pid).children(recursive=True)
    assert any("uvicorn" in " ".join(process.cmdline()) for process in below)
    child.kill()
    child.wait()
    _, alive = psutil.wait_procs(below, timeout=60)
    assert alive == []

    done = run("-m", "flows", "reconcile", cwd=root, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert (
        f"Prefect: {note['name']} ({note['id']}) was left open by a killed process and is closed as Crashed." in lines
    )
    assert notes(root) == []
    again = run("-m", "flows", "reconcile", cwd=root, env=env)
    assert again.stdout.splitlines()[-1] == "Nothing was left open by a killed process."
