"""The stages and the flow beside servers as they run in production: MLflow and Prefect on PostgreSQL."""

import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from hsipipe.errors import MissingInputError
from hsipipe.model_registry.load import load_registered
from hsipipe.model_registry.store import connect
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.running.dvc import set_params
from tasks.tracking import register_model
from tasks.tracking.runs import stage_run

# The time covers the start of the servers and the first run of the project, for which these tests may have to wait.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("servers"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

NAME = "hsipipe-synthetic-x4"


@pytest.fixture
def root(tmp_path, repository, monkeypatch):
    """A project without a store of its own."""
    return make_root(tmp_path / "a", repository, monkeypatch)


def make_root(folder, repository, monkeypatch):
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(repository / name, folder / name)
    set_params(folder, ["dataset.synthetic.scenes=1", "dataset.synthetic.size=16"])
    monkeypatch.chdir(folder)
    return folder


def test_a_run_is_recorded_and_a_model_registered_and_loaded_through_a_server(
    root, mlflow_server, small_model, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    model = small_model()
    with publish(tmp_path / "superresolver") as out:
        model.save(out)
    params = load_params(root / "params.yaml")
    with stage_run(root, "register", params=params, visible={}, digests={}) as tracker:
        tracker.log(1, {"loss": 0.5})
        version = register_model(root, tmp_path / "superresolver", tracker=tracker, model=model, tags={})
    client = connect(root)
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 0.5})
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    lr = np.random.default_rng(0).random((1, 8, 5, 5), dtype=np.float32)
    loaded = load_registered(root, f"models:/{NAME}/{version}")
    np.testing.assert_array_equal(loaded.predict(lr), model.predict(lr))
    assert not (root / "mlflow.db").exists()
    assert not (root / "mlartifacts").exists()


@pytest.mark.parametrize(
    "uri",
    [
        f"models:/{NAME}/{'9' * 40}",
        "models:/../../etc/passwd@challenger",
        "models:/..%2F..%2Fetc/1",
        "models:/x' or name like '%@challenger",
        "models:/a\0b@challenger",
        f"models:/{'n' * 3000}@challenger",
    ],
)
def test_a_name_that_means_no_model_is_one_clear_error_of_a_server_too(root, mlflow_server, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    with pytest.raises(MissingInputError, match="No model at"):
        load_registered(root, uri)


def test_the_servers_listen_to_this_machine_alone(mlflow_server, prefect_api):
    ports = {urlsplit(address).port for address in (mlflow_server, prefect_api)}
    listening = [c.laddr for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {place.port for place in listening} >= ports
    assert {place.ip for place in listening if place.port in ports} == {"127.0.0.1"}


def test_stages_of_two_checkouts_that_start_at_once_on_an_empty_database_do_no_harm(
    root, postgres, tmp_path, repository, environment, monkeypatch
):
    other = make_root(tmp_path / "b", repository, monkeypatch)
    store = postgres.new_database()
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tasks", "download"],
            cwd=folder,
            env={**environment, "MLFLOW_TRACKING_URI": store},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for folder in (root, other)
    ]
    said = [child.communicate(timeout=280)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], "\n".join(said)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = connect(root)
    (experiment,) = [found for found in client.search_experiments() if found.name == NAME]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name.split()[0] for run in runs) == ["download"] * 2 + ["pipeline"] * 2
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_the_flow_of_an_up_to_date_project_runs_beside_prefect_on_postgres(own_project, run, prefect_on_postgres):
    import httpx

    done = run("-m", "flows", "pipeline", cwd=own_project, env={"PREFECT_API_URL": prefect_on_postgres}, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    flows = httpx.post(f"{prefect_on_postgres}/flow_runs/filter", json={}, timeout=30).json()
    # Deployments of other tests have scheduled runs on this server.
    assert [flow["state_type"] for flow in flows if flow["state_type"] != "SCHEDULED"] == ["COMPLETED"]
