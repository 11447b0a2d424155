"""The whole pipeline on a tiny synthetic scene set: DVC, the flow, the registry, the command line."""

import json
import re
import subprocess

import numpy as np
import pytest
import yaml

import hsipipe
from hsipipe.errors import MissingInputError
from hsipipe.methods.catalogue import saved_name
from hsipipe.model_registry.store import connect
from hsipipe.training.outcome import read_outcome
from tasks.running import dvc
from tasks.running.project import DVC_LOCKS
from tasks.running.stages import STAGES

# The time covers the first run of the project, which one of these tests has to wait for.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow warns when it loads the registered model itself.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

COMPARED = ["bicubic", "pca-residual", "dmgasr", "dmgasr-regression"]
ADDED = f"compare=[{','.join([*COMPARED, 'sfim'])}]"
STALE_OF_SFIM = {"tasks/dvc.yaml:train@sfim", "evaluate@sfim", "compare", "report", "register"}
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
    return dict(re.findall(r"- (\S+): (ran|up to date|restored.*)$", log, flags=re.MULTILINE))


def ran(done):
    """The stages that a call of DVC has run, or with --dry would run."""
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"Running stage '(\S+)'", done.stdout))


def dry(root, run, *overrides):
    """The stages that DVC finds stale by themselves; it does not see what their results will change."""
    dvc.set_params(root, overrides)
    return ran(run("-m", "dvc", "repro", "--dry", cwd=root))


def metrics_of(root):
    return json.loads((root / "reports/metrics.json").read_text(encoding="utf-8"))


def test_the_first_run_ends_with_a_table_and_says_where_things_are(first_run):
    root, stdout = first_run
    for row in (*COMPARED, "pca-6-ceiling", "ae-ceiling", "MPSNR"):
        assert row in stdout
    assert str(root / "reports/report/index.html") in stdout
    assert str(root / "models/superresolver") in stdout
    assert MODEL in stdout
    assert "/#/experiments/1?workflowType=machine_learning" in stdout
    metrics = metrics_of(root)
    assert metrics["baseline"] == "bicubic"
    assert metrics["models"]["dmgasr"].keys() >= METRICS
    assert metrics["protocol"]["name"] == "default"
    assert (root / "reports/report/index.html").stat().st_size > 1000
    assert not (root / ".hsipipe/last_error.txt").exists()


def test_a_second_repro_runs_nothing(project, run, addresses):
    done = run("-m", "dvc", "repro", cwd=project)
    assert ran(done) == set()
    assert done.stdout.count("didn't change, skipping") == len(addresses(project))


def test_dvc_shows_metrics_plots_and_params(project, run):
    shown = json.loads(run("-m", "dvc", "metrics", "show", "--json", cwd=project).stdout)
    files = shown[""]["data"]
    once = ("download", "degrade", "patches", "report", "register")
    assert set(files) == {"reports/metrics.json", *(f"reports/stages/{name}.json" for name in once)}
    assert "gain_db" in files["reports/metrics.json"]["data"]
    plots = run("-m", "dvc", "plots", "show", "--out", "reports/plots", cwd=project)
    assert plots.returncode == 0, plots.stderr
    page = (project / "reports/plots/index.html").read_text(encoding="utf-8")
    assert "validation MPSNR (dB)" in page
    assert "pca-residual.csv" in page
    assert "methods.png" in page


def test_mlflow_holds_one_parent_and_one_run_a_stage(project, addresses):
    client = connect(project)
    experiment = client.get_experiment_by_name("hsipipe-synthetic-x4")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    nested = {run.info.run_name: run for run in runs if run is not parent}
    assert set(nested) == {name.removeprefix("tasks/dvc.yaml:") for name in addresses(project)}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {parent.info.run_id}
    assert set(parent.data.metrics) >= {"bicubic.mpsnr_db", "dmgasr.mpsnr_db"}
    assert parent.data.params["sampling.steps"] == "2"
    for name, run in nested.items():
        assert run.data.tags["mlflow.source.git.commit"]
        assert run.data.tags["git.dirty"] == "false", name
        assert run.inputs.dataset_inputs, name
    training = nested["train@dmgasr"]
    assert training.data.metrics.keys() >= {"loss", "val_mpsnr_db", "val_crps_gain_db"}
    assert any(name.startswith("system/cpu") for name in training.data.metrics)
    assert training.data.params["methods.dmgasr.optimizer.steps"] == "4"
    assert not any(name.startswith("methods.pca-residual") for name in training.data.params)
    assert training.data.tags["dvc.models/dmgasr-regression"].endswith(".dir")
    assert nested["train@dmgasr-regression"].data.tags["dvc.models/gae/standard"].endswith(".dir")
    assert training.data.tags["device"].startswith("cpu")
    metrics = metrics_of(project)
    assert nested["evaluate@dmgasr"].data.tags["protocol.hash"] == metrics["protocol"]["hash"]
    assert nested["compare"].data.metrics["gain_db.dmgasr"] == metrics["gain_db"]["dmgasr"]
    version = client.get_model_version_by_alias("hsipipe-synthetic-x4", "challenger")
    rows = metrics["models"]
    assert float(version.tags["mpsnr_db"]) == rows[version.tags["model"]]["mpsnr_db"]
    assert client.list_artifacts(training.info.run_id, "figures")


def test_the_parent_run_shows_the_results(project):
    client, metrics = connect(project), metrics_of(project)
    experiment = client.get_experiment_by_name("hsipipe-synthetic-x4")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    for name, row in metrics["models"].items():
        for key in METRICS & row.keys() - {"kind"}:
            assert row[key] is None or parent.data.metrics[f"{name}.{key}"] == row[key]
    version = client.get_model_version_by_alias("hsipipe-synthetic-x4", "challenger")
    tags, shipped = parent.data.tags, version.tags["model"]
    assert (tags["shipped.name"], tags["shipped.version"]) == (shipped, f"hsipipe-synthetic-x4/{version.version}")
    assert parent.data.metrics["shipped.mpsnr_db"] == metrics["models"][shipped]["mpsnr_db"]
    assert (tags["dataset"], len(tags["git.commit"])) == ("synthetic", 40)
    for text in (tags["mlflow.note.content"], version.description):
        assert metrics["protocol"]["hash"] in text
        assert f"{shipped}" in text
    pictures = {file.path for file in client.list_artifacts(parent.info.run_id, "report/figures")}
    assert "report/figures/methods.png" in pictures
    assert "report/index.html" in {file.path for file in client.list_artifacts(parent.info.run_id, "report")}


def test_an_added_method_runs_alone_and_a_removed_one_leaves_nothing(own_project, run):
    done = run("-m", "tasks", "repro", "-S", ADDED, cwd=own_project)
    assert ran(done) == STALE_OF_SFIM
    assert "sfim" in done.stdout
    assert list(metrics_of(own_project)["descriptions"]) == [*COMPARED, "sfim"]
    dvc.set_params(own_project, [f"compare=[{','.join(COMPARED)}]"])
    done = run("-m", "dvc", "repro", cwd=own_project)
    # The table is that of the first run again, and so is the report.
    assert ran(done) == {"compare", "register"}
    assert "Stage 'report' is cached" in done.stdout
    assert "sfim" not in (own_project / "reports/report/index.html").read_text(encoding="utf-8")
    assert "sfim" not in (own_project / "reports/metrics.json").read_text(encoding="utf-8")
    assert sorted(path.name for path in (own_project / "reports/scores").iterdir()) == sorted(COMPARED)
    assert ran(run("-m", "dvc", "repro", cwd=own_project)) == set()


@pytest.mark.xdist_group("servers")
def test_the_flow_runs_an_added_method_alone_and_dvc_finds_nothing_left(own_project, run, prefect_api, addresses):
    env = {"PREFECT_API_URL": prefect_api}
    done = run("-m", "flows", "pipeline", "-S", ADDED, cwd=own_project, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    expected = {
        name.removeprefix("tasks/dvc.yaml:"): "ran" if name in STALE_OF_SFIM else "up to date"
        for name in addresses(own_project)
    }
    assert outcomes(done.stdout + done.stderr) == expected
    assert ran(run("-m", "dvc", "repro", cwd=own_project)) == set()


def test_the_settings_of_a_method_make_it_alone_stale(own_project, run):
    assert dry(own_project, run, "methods.sfim={}", "methods.edsr.width=16") == set()
    assert dry(own_project, run, "methods.pca-residual.blocks=2") == {"tasks/dvc.yaml:train@pca-residual"}
    restored = "methods.pca-residual.blocks=1"
    assert dry(own_project, run, restored, "methods.dmgasr.optimizer.lr=0.01") == {"tasks/dvc.yaml:train@dmgasr"}
    settings = ("methods.dmgasr.optimizer.lr=0.001", "methods.dmgasr-latent.optimizer.lr=0.01")
    assert dry(own_project, run, *settings) == {"tasks/dvc.yaml:train@dmgasr-regression"}


def test_without_latent_methods_no_autoencoder_is_trained(own_project, run):
    changed = ("gae.standard.width=4", "compare=[bicubic,pca-residual]")
    assert dry(own_project, run, *changed) == {"compare", "register"}
    assert "tasks/dvc.yaml:train_gae@standard" in dry(own_project, run, "compare=[bicubic,dmgasr]")


def test_further_seeds_give_a_row_its_deviation(own_project, monkeypatch):
    dvc.set_params(own_project, ["compare=[bicubic,dmgasr]", "seeds=[1]"])
    seeds = {f"{name}_seed@{method}-1" for name in ("train", "evaluate") for method in ("bicubic", "dmgasr")}
    assert set(dvc.stale(own_project, on_line=print)) == {*seeds, "compare", "register"}
    monkeypatch.chdir(own_project)
    for method in ("bicubic", "dmgasr"):
        STAGES["train"].execute(f"{method}@seed-1")
        STAGES["evaluate"].execute(f"{method}@seed-1")
    STAGES["compare"].execute()
    metrics = metrics_of(own_project)
    assert metrics["seeds"] == {"dmgasr": 2}
    assert metrics["spread"]["dmgasr"]["crps"] > 0 == metrics["spread"]["dmgasr"]["mpsnr_db"]
    assert "bicubic" not in metrics["spread"]
    assert "±" in (own_project / "reports/comparison/table.md").read_text(encoding="utf-8")


def test_an_override_is_written_into_the_params(own_project, run):
    done = run("-m", "tasks", "repro", "-S", "sampling.consistency=1", "evaluate@bicubic", cwd=own_project)
    assert ran(done) == {"evaluate@bicubic"}
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
lr[0, 3, 2, 1] = np.nan
holed = model.predict(lr)
np.save(sys.argv[5], holed)
lr[0, 3, 2, 1] = np.inf
print("infinite values are no data:", np.array_equal(model.predict(lr), holed, equal_nan=True))
"""


@pytest.fixture(scope="module")
def lr():
    return np.random.default_rng(0).random((2, 8, 6, 5), dtype=np.float32)


def test_the_registered_model_predicts_in_another_process_and_folder(project, run, tmp_path, lr):
    np.save(tmp_path / "lr.npy", lr)
    store = f"sqlite:///{project / 'mlflow.db'}"
    done = run("-c", PREDICT, store, MODEL, *(tmp_path / f"{name}.npy" for name in ("lr", "sr", "holed")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sr = np.load(tmp_path / "sr.npy")
    assert (sr.shape, sr.dtype) == ((2, 8, 24, 20), np.float32)
    direct = hsipipe.load_model(project / "models/superresolver").predict(lr)
    np.testing.assert_array_equal(sr, direct)
    missing = np.isnan(np.load(tmp_path / "holed.npy"))
    assert np.argwhere(missing.any(axis=1)).tolist() == [[0, y, x] for y in range(8, 12) for x in range(4, 8)]
    assert missing[0, :, 8:12, 4:8].all()
    assert "infinite values are no data: True" in done.stdout


def test_what_validated_best_is_registered(project):
    summary = json.loads((project / "reports/stages/register.json").read_text(encoding="utf-8"))
    values = {name: summary[f"val_mpsnr_db.{name}"] for name in COMPARED[1:]}
    assert values == metrics_of(project)["validation"]
    version = connect(project).get_model_version_by_alias("hsipipe-synthetic-x4", "challenger")
    # A posterior has the validation of its regression; the better samples decide, of a regression none.
    gains = {name: read_outcome(project / "models" / name).get("val_crps_gain_db", 0.0) for name in values}
    assert version.tags["model"] == max(values, key=lambda name: (values[name], gains[name]))
    assert saved_name(project / "models/superresolver") == version.tags["model"]


def test_every_candidate_can_be_registered_and_loaded(own_project, lr, monkeypatch):
    monkeypatch.chdir(own_project)
    for name in COMPARED[1:]:
        dvc.set_params(own_project, [f"registry.candidates=[{name}]"])
        STAGES["register"].execute()
        model = hsipipe.load_model(own_project / "models/superresolver")
        assert model.name == saved_name(own_project / "models/superresolver") == name
        assert model.predict(lr).shape == (2, 8, 24, 20)


def test_without_a_trained_method_nothing_is_registered_and_there_is_a_report(own_project, run):
    done = run("-m", "tasks", "repro", "-S", "compare=[bicubic]", cwd=own_project)
    assert ran(done) == {"compare", "register", "report"}
    assert "none is registered: no compared method is trained" in done.stdout
    page = (own_project / "reports/report/index.html").read_text(encoding="utf-8")
    assert "Nothing was registered: no compared method is trained." in page
    assert "Use the model" not in page
    with pytest.raises(MissingInputError, match="holds no model"):
        hsipipe.load_model(own_project / "models/superresolver")


def test_the_report_names_what_was_registered_and_the_source(project):
    page = (project / "reports/report/index.html").read_text(encoding="utf-8")
    version = connect(project).get_model_version_by_alias("hsipipe-synthetic-x4", "challenger")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True)
    for text in (version.run_id, commit.stdout.strip(), MODEL, f"version {version.version}, alias challenger"):
        assert text in page
    assert "not committed" not in page
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, .+ after the pipeline started", page)
    url = re.search(r'href="http://127.0.0.1:5000/#/experiments/\w+/runs/(\w+)\?', page)
    assert "mlflow.parentRunId" not in connect(project).get_run(url[1]).data.tags
    assert str(project) not in page


def test_predict_on_the_command_line_takes_the_model_out_of_the_registry(project, run, tmp_path, lr):
    np.save(tmp_path / "lr.npy", lr[0])
    done = run("-m", "flows", "predict", tmp_path / "lr.npy", tmp_path / "sr.npy", "--model", MODEL, cwd=project)
    assert done.returncode == 0, done.stderr
    direct = hsipipe.load_model(project / "models/superresolver").predict(lr[:1])[0]
    np.testing.assert_allclose(np.load(tmp_path / "sr.npy"), direct, atol=1e-6)


def test_git_sees_nothing_that_a_run_made_except_the_locks(project, addresses):
    done = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == [f"?? {name}" for name in DVC_LOCKS]
    locked = [yaml.safe_load((project / name).read_text(encoding="utf-8"))["stages"] for name in DVC_LOCKS]
    assert {name for stages in locked for name in stages} == {
        name.removeprefix("tasks/dvc.yaml:") for name in addresses(project)
    }
