"""Flow runs whose processes are killed: the next start closes them, and the slot of their deployment is free again."""

import json

import httpx
import psutil
import pytest

from .harness import Checkout, kill_group, wait_until

# The time covers the first run of the project, which one of these tests waits for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("servers")]

PATIENCE_S = 180.0

# Replaces the download: leaves a file when it starts, and never ends.
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


@pytest.fixture
def begin(environment):
    """Start ``python -m flows ...``; what is left of it at the end is killed."""
    children = []

    def begin(*arguments, cwd, env):
        children.append(Checkout(cwd, environment).start("-m", "flows", *arguments, env=env))
        return children[-1]

    yield begin
    for child in children:
        kill_group(child.process)


def expect(condition, child):
    """Wait for what a living child brings about."""

    def happened():
        assert not child.is_over(), child.said()
        return condition()

    wait_until(happened, "what was expected", patience_s=PATIENCE_S)
    return condition()


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
    serving = begin("serve", "--interval", "4", cwd=own_project, env=env)
    expect((own_project / "begun").exists, serving)
    (note,) = notes(own_project)
    assert note["api"] == prefect_api
    serving.process.kill()
    serving.process.wait()
    kill(note["pid"])
    with httpx.Client(base_url=prefect_api, timeout=10) as client:
        assert client.get(f"/flow_runs/{note['id']}").json()["state_type"] == "RUNNING"
        deployment = client.get("/deployments/name/pipeline/scheduled").json()
        assert deployment["global_concurrency_limit"]["active_slots"] == 1

        download.write_bytes(original)
        serving = begin("serve", "--interval", "4", cwd=own_project, env=env)
        query = {"deployments": {"id": {"any_": [deployment["id"]]}}}

        def completed():
            runs = client.post("/flow_runs/filter", json=query).json()
            return [run for run in runs if run["state_type"] == "COMPLETED"]

        (run, *_) = expect(completed, serving)
        assert run["auto_scheduled"]
        assert run["start_time"] is not None
        killed = client.get(f"/flow_runs/{note['id']}").json()
        assert killed["state_type"] == "CRASHED"
        tasks = client.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [note["id"]]}}}).json()
        assert {task["state_type"] for task in tasks} <= {"CRASHED", "COMPLETED"}
    assert f"{note['name']} ({note['id']}) was left open by a killed process" in serving.said()
    assert note["id"] not in {entry["id"] for entry in notes(own_project)}


def test_a_killed_pipeline_leaves_no_temporary_server_and_reconcile_closes_its_run(
    new_project, begin, run, environment, tmp_path
):
    root = new_project(tmp_path / "hsipipe")
    (root / "tasks" / "download.py").write_text(ENDLESS, encoding="utf-8")
    env = {"PREFECT_HOME": str(root / ".hsipipe" / "prefect")}
    child = begin("pipeline", cwd=root, env=env)
    expect((root / "begun").exists, child)
    (note,) = notes(root)
    assert (note["api"], note["pid"]) == (None, child.process.pid)
    below = psutil.Process(child.process.pid).children(recursive=True)
    assert any("uvicorn" in " ".join(process.cmdline()) for process in below)
    child.process.kill()
    child.process.wait()
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
