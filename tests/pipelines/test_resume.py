"""A training that is killed and started again ends with the same bits as one that was not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tasks.running.dvc import set_params
from tasks.running.process import end_group, start

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_S = 120.0
LONGER = tuple(f"methods.dmgasr.optimizer.{item}" for item in ("steps=60", "save_every=4", "validate_every=20"))
STAGE, TARGET, OUT = "train@dmgasr", "tasks/dvc.yaml:train@dmgasr", "models/dmgasr"


def weights(root):
    return (root / OUT / "model.safetensors").read_bytes()


def kill_in_training(root, env):
    """Start the stage, wait for its first resume point, then kill -9 the process that trains."""
    child = start("dvc", "repro", TARGET, cwd=root, env=env, capture=False)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not (points := list((root / ".hsipipe/work" / STAGE).glob("*/resume.safetensors"))):
            assert child.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        pid = int((root / f".hsipipe/locks/{STAGE}.lock").read_text(encoding="utf-8"))
        os.kill(pid, signal.SIGKILL)
        assert child.wait(timeout=PATIENCE_S) != 0
    finally:
        end_group(child)
    return points[0]


def test_kill_9_in_training_and_the_same_command_again(own_project, run, environment):
    set_params(own_project, LONGER)
    resume_point = kill_in_training(own_project, environment)
    assert not (own_project / OUT).exists(), "half a training must not be visible"
    assert resume_point.is_file()

    again = run("-m", "dvc", "repro", TARGET, cwd=own_project)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resume at step" in again.stderr + again.stdout
    resumed = weights(own_project)

    # Undisturbed: the same stage from scratch, with nothing left of the first one.
    forced = run("-m", "dvc", "repro", "--force", "--single-item", TARGET, cwd=own_project)
    assert forced.returncode == 0, forced.stdout + forced.stderr
    assert "resume at step" not in forced.stderr + forced.stdout
    assert weights(own_project) == resumed


def test_a_time_limit_publishes_nothing_and_the_same_command_resumes(own_project, run):
    set_params(own_project, LONGER)
    done = run("-m", "tasks", "repro", STAGE, "--stop-after", "0.0001", cwd=own_project)
    said = done.stdout + done.stderr
    assert done.returncode == 85, said
    assert "The pipeline stopped: stopped after 0.0001 minutes at step 1 of 60; give the same command again" in said
    assert not (own_project / OUT).exists()
    again = run("-m", "tasks", "repro", STAGE, "--stop-after", "30", cwd=own_project)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resume at step 1 of 60" in again.stdout + again.stderr


def test_the_work_of_a_finished_training_is_cleared_away(project):
    assert not list((project / ".hsipipe/work").glob("*/*/resume.safetensors"))


def test_two_at_once_are_refused(own_project, environment):
    # Long enough to be still at work when the second one comes; it is ended then.
    set_params(own_project, [*LONGER, "methods.dmgasr.optimizer.steps=100000"])
    holder = start("dvc", "repro", TARGET, cwd=own_project, env=environment, capture=False)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while not list((own_project / ".hsipipe/work" / STAGE).glob("*/resume.safetensors")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second = subprocess.run(
            [sys.executable, "-m", "tasks", *STAGE.split("@")],
            cwd=own_project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 75
        assert "Traceback" not in second.stderr
        assert f"Stage {STAGE} is already running" in second.stderr
    finally:
        end_group(holder)
