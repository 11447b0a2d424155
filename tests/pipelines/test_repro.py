"""The whole pipeline on a tiny synthetic scene set: DVC, the flow, the registry, the command line."""

import json
import re
import subprocess

import numpy as np
import pytest
import yaml

import hsipipe
from hsipipe.methods.catalogue import saved_name
from tasks.catalogue import NAMES, STAGES
from tasks.running import dvc
from tasks.tracking.store import connect

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MODEL = "models:/hsipipe-synthetic-x4@challenger"
METRICS = {
    "mpsnr_db",
    "cube_psnr_db",
    "mssim",
    "sam_deg",
    "ergas",
    "cc",
    "rmse",
    "consistency_psnr_db",
    "seconds_per_image",
    "nfe",
}


def outcomes(log):
    """What the flow says of each stage."""
    return dict(re.findall(r"- (\w+): (ran|up to date|restored.*)$", log, flags=re.MULTILINE))


def test_the_first_run_ends_with_a_table_and_says_where_things_are(first_run):
    root, stdout = first_run
    for row in ("bicubic", "regression", "pca-residual", "dmgasr", "pca-6-ceiling", "ae-ceiling", "MPSNR"):
        assert row in stdout
    assert str(root / "reports/report/index.html") in stdout
    assert str(root / "models/superresolver") in stdout
    assert MODEL in stdout
    metrics = json.loads((root / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["models"]["dmgasr"].keys() >= METRICS
    assert metrics["protocol"]["name"] == "default"
    assert (root / "reports/report/index.html").stat().st_size > 1000
    assert not (root / ".hsipipe/last_error.txt").exists()


def test_a_second_repro_runs_nothing(project, run):
    done = run("-m", "dvc", "repro", cwd=project)
    assert done.returncode == 0
    assert done.stdout.count("didn't change, skipping") == len(NAMES)
    assert "Running stage" not in done.stdout


def test_dvc_shows_metrics_plots_and_params(project, run):
    shown = json.loads(run("-m", "dvc", "metrics", "show", "--json", cwd=project).stdout)
    files = shown[""]["data"]
    assert set(files) == {"reports/metrics.json", *(f"reports/stages/{name}.json" for name in NAMES)}
    assert "gain_db" in files["reports/stages/evaluate.json"]["data"]
    plots = run("-m", "dvc", "plots", "show", "--out", "reports/plots", cwd=project)
    assert plots.returncode == 0, plots.stderr
    page = (project / "reports/plots/index.html").read_text(encoding="utf-8")
    assert "Validation of the diffusion and its controls" in page
    assert "band-psnr" in page


def test_mlflow_holds_one_parent_and_one_run_a_stage(project):
    client = connect(project)
    experiment = client.get_experiment_by_name("hsipipe-synthetic-x4")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    nested = {run.info.run_name: run for run in runs if run is not parent}
    assert set(nested) == {name for name in NAMES if not STAGES[name].fuses}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {parent.info.run_id}
    assert set(parent.data.metrics) >= {"bicubic.mpsnr_db", "dmgasr.mpsnr_db", "gain_db"}
    assert parent.data.params["sampling.steps"] == "2"
    for name, run in nested.items():
        assert run.data.tags["mlflow.source.git.commit"]
        assert run.data.tags["git.dirty"] == "false", name
        assert run.inputs.dataset_inputs, name
    training = nested["train_diffusion"]
    assert training.data.metrics.keys() >= {"loss", "val_mpsnr_db"}
    assert any(name.startswith("system/cpu") for name in training.data.metrics)
    assert training.data.params["diffusion.optimizer.steps"] == "4"
    assert training.data.tags["dvc.models/gae"].endswith(".dir")
    assert training.data.tags["device"].startswith("cpu")
    protocol = json.loads((project / "reports/metrics.json").read_text(encoding="utf-8"))["protocol"]
    assert nested["evaluate"].data.tags["protocol.hash"] == protocol["hash"]
    figures = [file.path for file in client.list_artifacts(nested["report"].info.run_id, "figures")]
    assert "figures/index.html" in figures
    version = client.get_model_version_by_alias("hsipipe-synthetic-x4", "challenger")
    rows = json.loads((project / "reports/metrics.json").read_text(encoding="utf-8"))["models"]
    assert float(version.tags["mpsnr_db"]) == rows[version.tags["model"]]["mpsnr_db"]
    assert client.list_artifacts(training.info.run_id, "figures")


def test_the_flow_finds_everything_up_to_date(project, run, prefect_api):
    done = run("-m", "flows", "pipeline", cwd=project, env={"PREFECT_API_URL": prefect_api})
    assert done.returncode == 0, done.stderr
    assert outcomes(done.stdout + done.stderr) == dict.fromkeys(NAMES, "up to date")


def test_after_a_params_change_the_flow_runs_what_dvc_calls_stale(own_project, run, prefect_api):
    dvc.set_params(own_project, ["sampling.steps=1"])
    dry = run("-m", "dvc", "repro", "--dry", cwd=own_project)
    stale = set(re.findall(r"Running stage '(\w+)'", dry.stdout))
    assert stale == {"evaluate", "register"}
    stale.add("report")  # DVC sees that when evaluate has made another output
    # The flow is given the same override, so that it has to find the stage stale by itself.
    dvc.set_params(own_project, ["sampling.steps=2"])
    done = run(
        "-m", "flows", "pipeline", "-S", "sampling.steps=1", cwd=own_project, env={"PREFECT_API_URL": prefect_api}
    )
    assert done.returncode == 0, done.stderr
    assert outcomes(done.stdout + done.stderr) == {name: "ran" if name in stale else "up to date" for name in NAMES}
    metrics = json.loads((own_project / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["models"]["dmgasr"]["nfe"] == 1
    # dvc repro goes on where the flow stopped.
    assert "Running stage" not in run("-m", "dvc", "repro", cwd=own_project).stdout


def test_an_override_is_written_into_the_params(own_project, run):
    done = run("-m", "tasks", "repro", "-S", "sampling.consistency=1", "evaluate", cwd=own_project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"Running stage '(\w+)'", done.stdout)) == {"evaluate"}
    assert "bicubic" in done.stdout
    changed = json.loads(run("-m", "dvc", "params", "diff", "--json", cwd=own_project).stdout)
    assert list(changed["params.yaml"]) == ["sampling.consistency"]
    assert changed["params.yaml"]["sampling.consistency"]["new"] == 1
    assert run("-m", "dvc", "exp", "list", "--name-only", cwd=own_project).stdout.split() == []


PREDICT = """
import sys
import mlflow
import numpy as np

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
lr = np.load(sys.argv[3])
np.save(sys.argv[4], model.predict(lr))
try:
    model.predict(np.where(lr > lr.mean(), np.nan, lr).astype(np.float32))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def lr():
    return np.random.default_rng(0).random((2, 8, 6, 5), dtype=np.float32)


def test_the_registered_model_predicts_in_another_process_and_folder(project, run, tmp_path, lr):
    np.save(tmp_path / "lr.npy", lr)
    store = f"sqlite:///{project / 'mlflow.db'}"
    done = run("-c", PREDICT, store, MODEL, tmp_path / "lr.npy", tmp_path / "sr.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sr = np.load(tmp_path / "sr.npy")
    assert (sr.shape, sr.dtype) == ((2, 8, 24, 20), np.float32)
    direct = hsipipe.load_model(project / "models/superresolver").predict(lr)
    np.testing.assert_array_equal(sr, direct)
    assert "NaN" in done.stdout


def test_what_validated_best_is_registered(project):
    summary = json.loads((project / "reports/stages/register.json").read_text(encoding="utf-8"))
    values = {name: summary[f"val_mpsnr_db.{name}"] for name in ("dmgasr", "regression", "pca-residual")}
    version = connect(project).get_model_version_by_alias("hsipipe-synthetic-x4", "challenger")
    assert version.tags["model"] == max(values, key=values.get)
    assert saved_name(project / "models/superresolver") == version.tags["model"]


@pytest.mark.parametrize(
    ("role", "name"), [("model", "dmgasr"), ("regression", "regression"), ("control", "pca-residual")]
)
def test_every_candidate_can_be_registered_and_loaded(own_project, run, lr, role, name):
    dvc.set_params(own_project, [f"registry.candidates=[{role}]"])
    done = run("-m", "dvc", "repro", "register", cwd=own_project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(re.findall(r"Running stage '(\w+)'", done.stdout)) == {"register"}
    model = hsipipe.load_model(own_project / "models/superresolver")
    assert model.name == saved_name(own_project / "models/superresolver") == name
    assert model.predict(lr).shape == (2, 8, 24, 20)


def test_predict_on_the_command_line_takes_the_model_out_of_the_registry(project, run, tmp_path, lr):
    np.save(tmp_path / "lr.npy", lr[0])
    done = run("-m", "flows", "predict", tmp_path / "lr.npy", tmp_path / "sr.npy", "--model", MODEL, cwd=project)
    assert done.returncode == 0, done.stderr
    direct = hsipipe.load_model(project / "models/superresolver").predict(lr[:1])[0]
    np.testing.assert_allclose(np.load(tmp_path / "sr.npy"), direct, atol=1e-6)


def test_git_sees_nothing_that_a_run_made_except_the_lock(project):
    done = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["??", "dvc.lock"]
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    assert set(lock["stages"]) == set(NAMES)
