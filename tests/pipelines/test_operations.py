"""The commands of docs/operations.md run as they stand there, with addresses of this machine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from server_fixtures import ROLE, mlflow_on, s3_on

from hsipipe import load_model
from hsipipe.model_registry.load import load_registered
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.tracking import register_model
from tasks.tracking.runs import stage_run

# The time covers the start of the servers and the first run of the project, for which these tests may have to wait.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("servers"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

CHAMPION = "models:/hsipipe-synthetic-x4@challenger"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def blocks(repository):
    """The commands of the page that are marked to be run, by their names."""
    text = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- run: (\w+) -->\n```sh\n(.*?)```", text, flags=re.DOTALL))


@pytest.fixture
def shell(blocks, environment):
    """Run a block of the page in a folder; `replace` puts addresses of this machine in place of the page's."""

    def shell(name, cwd, *, env=None, replace=None):
        commands = blocks[name]
        for old, new in (replace or {}).items():
            assert old in commands, f"{old} is not in the block {name}"
            commands = commands.replace(old, new)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=cwd,
            env={**environment, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return shell


@pytest.fixture
def saved_model(small_model, tmp_path):
    """A model that was never trained, in its folder."""
    model = small_model()
    with publish(tmp_path / "superresolver") as out:
        model.save(out)
    return model, tmp_path / "superresolver"


@pytest.fixture
def root(tmp_path, repository, monkeypatch):
    """A project without a store of its own."""
    folder = tmp_path / "root"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(repository / name, folder / name)
    monkeypatch.chdir(folder)
    return folder


def register(root, folder):
    params = load_params(root / "params.yaml")
    with stage_run(root, "register", params=params, visible={}, digests={}) as tracker:
        register_model(root, folder, tracker=tracker, model=load_model(folder), tags={})


def assert_it_loads(root, model):
    lr = np.random.default_rng(0).random((1, 8, 5, 5), dtype=np.float32)
    np.testing.assert_array_equal(load_registered(root, CHAMPION).predict(lr), model.predict(lr))


def with_postgres_of(postgres, env_file):
    """The variable of an environment file as the page makes it, at the socket of the tests' PostgreSQL."""
    assert env_file.stat().st_mode & 0o777 == 0o600
    name, _, address = env_file.read_text(encoding="utf-8").strip().partition("=")
    assert re.fullmatch(r"postgresql(\+asyncpg)?://(\w+):\w{48}@127\.0\.0\.1/\2", address)
    return name, address.replace("127.0.0.1", "") + f"?host={postgres.folder}"


def test_databases_are_made_saved_restored_and_upgraded(postgres, shell, root, saved_model, prefect_home, monkeypatch):
    model, folder = saved_model
    superuser = {"PGHOST": str(postgres.folder), "PGUSER": ROLE, "PGPASSWORD": postgres.password}
    superuser["PATH"] = os.pathsep.join([str(postgres.binaries), os.path.dirname(sys.executable), os.environ["PATH"]])
    shell("databases", root, env=superuser, replace={"/etc/hsipipe": str(root)})
    _, store = with_postgres_of(postgres, root / "mlflow.env")
    name, prefect = with_postgres_of(postgres, root / "prefect.env")
    with mlflow_on(store, root / "artifacts", folder=root) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        register(root, folder)
        shell("backup", root, env=superuser)  # while the server runs
    password = re.search(r":(\w{48})@", store)[1]
    upgrade = {name: prefect, "PGPASSWORD": password, "PREFECT_HOME": str(prefect_home)}
    shell("upgrade", root, env=upgrade, replace={"127.0.0.1/mlflow": f"/mlflow?host={postgres.folder}"})
    shell("restore", root, env=superuser)
    with mlflow_on(store, root / "artifacts", folder=root) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert_it_loads(root, model)
        register(root, folder)  # and it can be written by its own role


@pytest.fixture
def prefect_home(tmp_path):
    """A PREFECT_HOME of its own."""
    return tmp_path / "prefect"


def test_sqlite_is_saved_with_what_it_refers_to(shell, root, saved_model, monkeypatch):
    if shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    model, folder = saved_model
    register(root, folder)
    shell("sqlite", root)
    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlartifacts")
    (root / "backup" / "mlflow.db").rename(root / "mlflow.db")
    (root / "backup" / "mlartifacts").rename(root / "mlartifacts")
    assert_it_loads(root, model)


def test_data_and_models_go_through_storage_that_speaks_s3(
    shell, own_project, root, saved_model, tmp_path, monkeypatch
):
    with s3_on(tmp_path, "hsipipe-dvc", "hsipipe-mlflow", keys=KEYS) as address:
        identity = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {**KEYS, **identity}
        shell("remote", own_project, env=env, replace={"https://s3.example.org": address})
        assert "secret" not in (own_project / ".dvc/config").read_text(encoding="utf-8")
        shell("push", own_project, env=env)
        before = (own_project / "models/superresolver/model.safetensors").read_bytes()
        for made in (".dvc/cache", "models", "data"):
            shutil.rmtree(own_project / made)
        shell("pull", own_project, env=env)
        assert (own_project / "models/superresolver/model.safetensors").read_bytes() == before

        model, folder = saved_model
        store, env = f"sqlite:///{tmp_path / 'mlflow.db'}", {**KEYS, "MLFLOW_S3_ENDPOINT_URL": address}
        with mlflow_on(store, "s3://hsipipe-mlflow", folder=tmp_path, env=env) as tracking:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
            register(root, folder)
            assert_it_loads(root, model)  # this process has no keys of the storage
        assert not (root / "mlartifacts").exists()


def test_pools_deployments_and_monitoring(shell, own_project, prefect_on_postgres, mlflow_server):
    import httpx

    env = {"PREFECT_API_URL": prefect_on_postgres}
    shell("pools", own_project, env=env)
    assert httpx.get(f"{prefect_on_postgres}/work_pools/gpu", timeout=10).json()["concurrency_limit"] == 1
    deployments = httpx.post(f"{prefect_on_postgres}/deployments/filter", json={}, timeout=10).json()
    assert {deployment["work_pool_name"] for deployment in deployments} == {"default"}
    shell("gpu", own_project, env=env)
    moved = httpx.get(f"{prefect_on_postgres}/deployments/name/retrain/nightly", timeout=10).json()
    assert moved["work_pool_name"] == "gpu"
    shell("products", own_project, env=env)
    here = {"http://127.0.0.1:4200/api": prefect_on_postgres, "http://127.0.0.1:5000": mlflow_server}
    said = shell("monitoring", own_project, env=env, replace=here)
    assert said.startswith("trueOK")


def test_every_marked_block_is_run_here(blocks):
    source = Path(__file__).read_text(encoding="utf-8")
    assert set(blocks) == set(re.findall(r'shell\(\s*"(\w+)"', source))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", sorted((Path(__file__).parents[2] / "docs/systemd").glob("*.service")), ids=str)
def test_units_are_sound_and_call_programs_that_there_are(unit, tmp_path):
    text = unit.read_text(encoding="utf-8")
    (tmp_path / unit.name).write_text(text.replace("/srv/hsipipe/.venv", sys.prefix), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    settings = set(text.splitlines())
    assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "KillMode=control-group", "Restart=on-failure"} <= settings
    assert re.search(r"^EnvironmentFile=/etc/hsipipe/[\w-]+\.env$", text, flags=re.MULTILINE)
    assert not re.search(r"0\.0\.0\.0|password|://[^/\s]*@", text, flags=re.IGNORECASE)
