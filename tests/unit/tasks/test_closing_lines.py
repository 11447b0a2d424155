"""The lines at the end of ``python -m tasks repro``, after a real DVC whose one stage does next to nothing."""

import json
import os
import subprocess
import sys

import pytest

from hsipipe.artifacts.registration import Registration
from tasks.running.durations import remember

NAME = "hsipipe-synthetic-x4"
CONFIG = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
DVC_YAML = """
stages:
  make:
    cmd: echo made > made.txt
    outs: [made.txt]
"""


def row(mpsnr_db):
    return {"mpsnr_db": mpsnr_db, "mssim": 0.9, "sam_deg": 4.0, "ergas": 3.0, "nfe": 1, "kind": "method"}


@pytest.fixture
def project(root):
    """A project with the results of a run."""
    models = {"bicubic": row(30.0), "pca-residual": row(31.5)}
    metrics = {
        "baseline": "bicubic",
        "models": models,
        "scenes": {"a": models},
        "spread": {},
        "trained": ["pca-residual"],
        "fuses": [],
        "descriptions": dict.fromkeys(models, ""),
        "protocol": {"name": "default", "hash": "0123456789abcdef", "fields": [["dataset.name", "synthetic"]]},
    }
    entry = Registration(NAME, "pca-residual", 1, "challenger")
    texts = {".dvc/config": CONFIG, "dvc.yaml": DVC_YAML, "reports/metrics.json": json.dumps(metrics)}
    for name, text in {**texts, Registration.PATH: entry.as_json()}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def repro(project, **env):
    """Run the pipeline; return the closing lines by their first word."""
    lines = run(project, **env).stdout.splitlines()
    lines = [line for line in lines if line[:10].strip() in ("report", "model", "registry", "runs")]
    return {line[:10].strip(): line[10:] for line in lines}


def run(project, **env):
    command = [sys.executable, "-m", "tasks", "repro"]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "made.txt").is_file()
    return done


def test_a_run_starts_with_the_time_that_the_stages_last_took(project):
    remember(project, "download", 64.0)
    assert "stages last took 1 min 4 s; one that is up to date takes no time" in run(project).stderr.splitlines()[0]


def test_the_closing_lines_say_where_things_are(project):
    places = repro(project)
    assert list(places) == ["report", "model", "registry", "runs"]
    assert places["registry"] == f"no {NAME} in it; run: dvc repro --force --single-item register"
    assert places["runs"].startswith(f"no experiment {NAME} in sqlite:///")


def test_an_mlflow_that_is_down_does_not_fail_a_run_that_is_complete(project):
    places = repro(project, MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert list(places) == ["report", "model", "runs"]
    assert places["report"] == str(project / "reports/report/index.html")
    assert places["runs"].startswith("MLflow at http://127.0.0.1:9 cannot be used: ")
    assert places["runs"].endswith("correct or unset MLFLOW_TRACKING_URI.")
