"""Stages that are ended from outside: nothing half-done, nobody left over, no run left open."""

import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from hsipipe.model_registry.store import connect

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0

# Takes the place of the download: says that it has begun, then takes for ever.
ENDLESS = """
import time
from hsipipe.artifacts import RawScenes
from tasks.stage import StageRun, stage

@stage(reads=("dataset",))
def download(run: StageRun) -> RawScenes:
    (run.out / "half.txt").write_text("half")
    (run.root / "begun").touch()
    time.sleep(3600)
    return run.finish(RawScenes, {})
"""


@pytest.fixture
def project(copy_project, fresh_store, tmp_path):
    root = copy_project(tmp_path / "hsipipe")
    shutil.copyfile(fresh_store, root / "mlflow.db")
    (root / "tasks" / "download.py").write_text(ENDLESS, encoding="utf-8")
    config = root / ".dvc" / "config"
    text = config.read_text(encoding="utf-8").replace("[core]", "[core]\n    no_scm = true")
    config.write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def begin(project):
    """Start a command and wait until the stage works."""
    children = []

    def begin(*arguments):
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        with (project / "stderr.txt").open("w", encoding="utf-8") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=project,
                env={**os.environ, "PATH": path},
                start_new_session=True,
                stderr=log,
            )
        children.append(child)
        wait_until((project / "begun").exists)
        return child

    yield begin
    for child in children:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stage_process(root):
    """The process that works on the stage in this project."""
    pid = int((root / ".hsipipe/locks/download.lock").read_text(encoding="utf-8"))
    return psutil.Process(pid)


def statuses(root):
    client = connect(root)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.run_name.split()[0]: run.info.status for run in client.search_runs(experiments)}


def leftovers(root):
    return sorted(path.name for path in (root / "data").iterdir())


def gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def again(project, *arguments):
    """Start a second one of the same kind."""
    return subprocess.run(
        [sys.executable, "-m", "tasks", *arguments], cwd=project, capture_output=True, text=True, check=False
    )


def test_a_terminated_stage_cleans_up_and_closes_its_run(project, begin):
    child = begin("-m", "tasks", "download")
    assert leftovers(project)
    second = again(project, "download")
    assert second.returncode == 75
    assert second.stderr.strip() == (
        f"error: Stage download is already running (process {child.pid}); wait for it or stop it, then try again."
    )
    child.terminate()
    assert child.wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM
    assert leftovers(project) == []
    assert statuses(project) == {"download": "KILLED", "pipeline": "KILLED"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
@pytest.mark.parametrize("command", [("-m", "dvc", "repro", "download"), ("-m", "tasks", "repro", "download")])
def test_a_stage_ends_with_whoever_started_it(project, begin, command):
    child = begin(*command)
    stage = stage_process(project)
    child.kill()
    child.wait()
    wait_until(lambda: gone(stage))
    assert leftovers(project) == []
    assert statuses(project) == {"download": "KILLED", "pipeline": "KILLED"}


def test_an_interrupted_pipeline_ends_its_stage_and_says_so(project, begin):
    child = begin("-m", "tasks", "repro", "download")
    stage = stage_process(project)
    second = again(project, "repro")
    assert second.returncode == 75
    assert second.stderr.startswith(f"error: A pipeline in {project} is already running (process {child.pid})")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=PATIENCE_S) == 130
    assert (project / "stderr.txt").read_text(encoding="utf-8").splitlines()[-1] == "error: interrupted"
    assert gone(stage)
    assert statuses(project) == {"download": "KILLED", "pipeline": "KILLED"}


def test_what_a_killed_stage_left_open_is_closed_by_the_next(project, begin):
    child = begin("-m", "tasks", "download")
    child.kill()
    child.wait()
    assert statuses(project) == {"download": "RUNNING", "pipeline": "RUNNING"}
    (project / "begun").unlink()
    begin("-m", "tasks", "download")
    client = connect(project)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = sorted(run.info.status for run in client.search_runs(experiments))
    assert found == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


def test_an_unknown_stage_is_a_usage_error(tmp_path):
    done = again(tmp_path, "downlaod")
    assert done.returncode == 2
    assert "invalid choice: 'downlaod'" in done.stderr
