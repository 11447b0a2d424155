"""A served deployment is seen to fire: real server, real schedule, real runs."""

import os
import signal
import subprocess
import sys
import time

import pytest

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("servers")]

PATIENCE_S = 400.0


@pytest.fixture
def served(own_project, environment, prefect_api, tmp_path):
    """``python -m flows serve`` with a short interval, in a project in which everything is up to date."""
    with (tmp_path / "serve.log").open("w", encoding="utf-8") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "flows", "serve", "--interval", "5"],
            cwd=own_project,
            env={**environment, "PREFECT_API_URL": prefect_api, "PREFECT_RUNNER_POLL_FREQUENCY": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        yield child, tmp_path / "serve.log"
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def wait_for(condition, child, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert child.poll() is None, log.read_text(encoding="utf-8")
        if found := condition():
            return found
        time.sleep(0.5)
    pytest.fail(f"did not happen in time:\n{log.read_text(encoding='utf-8')}")


def test_a_served_deployment_fires_by_its_schedule(served, prefect_api):
    import httpx

    child, log = served
    with httpx.Client(base_url=prefect_api, timeout=10) as client:

        def deployment():
            answer = client.get("/deployments/name/pipeline/scheduled")
            return answer.json() if answer.status_code == 200 else None

        def completed():
            query = {"deployments": {"name": {"any_": ["scheduled"]}}}
            runs = client.post("/flow_runs/filter", json=query).json()
            return [run for run in runs if run["auto_scheduled"] and run["state_type"] == "COMPLETED"]

        served_as = wait_for(deployment, child, log)
        (schedule,) = served_as["schedules"]
        assert schedule["schedule"]["interval"] == 5.0
        assert served_as["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert served_as["global_concurrency_limit"]["limit"] == 1
        runs = wait_for(completed, child, log)
        assert runs[0]["start_time"] is not None

        child.send_signal(signal.SIGTERM)
        child.wait(timeout=60)
        # Stopping the server process must not leave the schedule switched off.
        assert deployment()["schedules"][0]["active"]
        assert not deployment()["paused"]


def test_the_deployments_of_prefect_yaml_can_be_made(own_project, run, prefect_api):
    import httpx

    env = {"PREFECT_API_URL": prefect_api}
    made = run("-m", "prefect", "work-pool", "create", "default", "--type", "process", cwd=own_project, env=env)
    assert made.returncode == 0, made.stdout + made.stderr
    done = run("-m", "prefect", "--no-prompt", "deploy", "--all", cwd=own_project, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    deployment = httpx.get(f"{prefect_api}/deployments/name/retrain/nightly", timeout=10).json()
    assert deployment["work_pool_name"] == "default"
    assert deployment["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    assert deployment["entrypoint"] == "flows/retrain.py:retrain"
    assert deployment["global_concurrency_limit"]["limit"] == 1
    (pull,) = deployment["pull_steps"]
    assert pull["prefect.deployments.steps.set_working_directory"]["directory"] == str(own_project)
