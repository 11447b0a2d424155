"""A password in the environment is seen nowhere: not on the terminal, in no file, in no record, in no model."""

from pathlib import Path

import pytest

from hsipipe.credentials import HIDDEN

# The time covers the start of the servers and the first run of the project, for which these tests may have to wait.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("servers")]

SECRET = "pa55w0rd-of-the-test"


def with_password(address):
    return address.replace("://", f"://someone:{SECRET}@")


def files_with_the_secret(root, secret=SECRET):
    """Every file below `root`, in whatever format, that holds it."""
    return [path for path in root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("name", "address", "command"),
    [
        ("MLFLOW_TRACKING_URI", "postgresql://127.0.0.1:9/mlflow", ("tasks", "register")),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9", ("tasks", "register")),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9", ("flows", "predict", "a.npy", "b.npy", "--model", "models:/m/1")),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9", ("tasks", "repro", "register")),
        ("PREFECT_API_URL", "http://127.0.0.1:9/api", ("flows", "pipeline")),
        ("PREFECT_API_URL", "http://127.0.0.1:9/api", ("flows", "serve")),
        ("HSIPIPE_MIRROR", "ftp://127.0.0.1:9", ("flows", "download", "pavia_university")),
        ("HSIPIPE_MIRROR", "http://127.0.0.1:9", ("flows", "download", "pavia_university")),
    ],
)
def test_a_server_that_cannot_be_reached_is_named_without_its_password(
    own_project, run, tmp_path, name, address, command
):
    (own_project / "a.npy").touch()
    env = {name: with_password(address), "HSIPIPE_OFFLINE": "1", "HSIPIPE_CACHE": str(tmp_path / "cache")}
    env["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    if command[:2] == ("tasks", "repro"):
        (own_project / "models/superresolver/config.json").unlink()
    done = run("-m", *command, cwd=own_project, env=env)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "127.0.0.1:9" in said or name == "HSIPIPE_MIRROR"
    assert SECRET not in said
    assert files_with_the_secret(tmp_path) == []


def test_a_traceback_that_is_asked_for_hides_it_too(own_project, run):
    env = {"MLFLOW_TRACKING_URI": with_password("postgresql://127.0.0.1:9/mlflow"), "HSIPIPE_DEBUG": "1"}
    done = run("-m", "tasks", "register", cwd=own_project, env=env)
    assert "Traceback" in done.stderr
    assert HIDDEN in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_flow_beside_servers_with_passwords_keeps_them_to_itself(
    own_project, run, mlflow_server, prefect_api, environment
):
    (own_project / "models/superresolver/config.json").unlink()
    env = {"MLFLOW_TRACKING_URI": with_password(mlflow_server), "PREFECT_API_URL": with_password(prefect_api)}
    done = run("-m", "flows", "pipeline", cwd=own_project, env=env, timeout=600)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "register: ran" in said
    assert SECRET not in said
    assert files_with_the_secret(own_project) == []
    assert files_with_the_secret(Path(environment["PREFECT_HOME"])) == []  # the server's database, too


def test_runs_in_a_database_with_a_password_hold_nothing_of_it(own_project, run, postgres):
    store = postgres.new_database()
    done = run("-m", "tasks", "register", cwd=own_project, env={"MLFLOW_TRACKING_URI": store})
    assert done.returncode == 0, done.stderr
    assert postgres.password not in done.stdout + done.stderr
    assert files_with_the_secret(own_project, postgres.password) == []
    dump = postgres.call("pg_dump", store)
    assert b"hsipipe-synthetic-x4" in dump
    assert postgres.password.encode() not in dump
