"""Faults of MLflow and Prefect: down from the start, killed in a stage, busy."""

import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import httpx

from .harness import PIPELINE, REPRO, STAGE, kill_group, wait_until


def mlflow_down(lab):
    checkout = lab.checkout(STAGE)
    address = f"http://127.0.0.1:{_free_port()}"
    line = checkout.complaint(checkout.run(*REPRO, env={"MLFLOW_TRACKING_URI": address}), address, "cannot be used")
    checkout.check_recovers()
    return line


def mlflow_dies(lab):
    """The record is lost, the result is not."""
    checkout = lab.checkout(STAGE)
    port, folder = _free_port(), checkout.root.parent / "mlflow"
    store = (
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        folder / "artifacts",
    )
    command = ("mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", 1, *store)
    env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with _server(lab, folder, *command, health=f"http://127.0.0.1:{port}/health") as server:
        with checkout.begun(*REPRO, env=env) as child:
            # Before its run exists the stage has no record to lose, and refuses to start.
            wait_until(lambda: _recorded(folder / "mlflow.db") or child.is_over(), "a run in MLflow")
            kill_group(server)
            code, said = child.end()
    assert "stopped answering" in said, f"the loss of MLflow is not named ({code}): {said[-1500:]}"
    checkout.check_results(complete=False, only={STAGE})
    checkout.check_recovers()
    return f"exit {code}; the stage ends well without its record"


def database_locked(lab, *, seconds=10.0):
    """Another process locks the SQLite store from before the start of the stage; Python alone gives up after 5 s."""
    checkout = lab.checkout(STAGE)
    release = threading.Event()
    with closing(sqlite3.connect(checkout.root / "mlflow.db", isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        thread = threading.Thread(target=lambda: (release.wait(seconds), holder.execute("ROLLBACK")))
        thread.start()
        try:
            checkout.finish()
        finally:
            release.set()
            thread.join()
    checkout.check_recovers()
    return f"locked for {seconds:.0f} s: the stage waits and ends well"


def prefect_down(lab):
    checkout = lab.checkout(STAGE)
    address = f"http://127.0.0.1:{_free_port()}/api"
    line = checkout.complaint(checkout.run(*PIPELINE, env={"PREFECT_API_URL": address}), address, "does not answer")
    checkout.check_recovers()
    return line


def prefect_dies(lab):
    """The server is killed in the middle of a flow; the plain command afterwards needs none."""
    checkout = lab.checkout(STAGE)
    port, home = _free_port(), checkout.root.parent / "prefect"
    env = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_HOME": str(home)}
    command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
    with _server(lab, home, *command, health=f"{env['PREFECT_API_URL']}/health", env=env) as server:
        with checkout.begun(*PIPELINE, env=env) as child:
            kill_group(server)
            code, _ = child.end(timeout_s=400)
            checkout.check_tidy()
    checkout.check_recovers()
    return f"the flow ends with exit {code}"


def open_in_prefect(api):
    """Names of the flow and task runs that a Prefect server holds open."""
    query = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    answers = [
        httpx.post(f"{api}/{kind}/filter", json={kind: query}, timeout=30) for kind in ("flow_runs", "task_runs")
    ]
    return [run["name"] for answer in answers for run in answer.raise_for_status().json()]


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextmanager
def _server(lab, folder, *command, health, env=None):
    """Run a server that keeps its files in `folder` until it is killed."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            cwd=folder,
            env={**lab.env, **(env or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answers():
        assert server.poll() is None, (folder / "log").read_text()[-1500:]
        try:
            return httpx.get(health, timeout=5).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, f"the answer of {health}")
        yield server
    finally:
        kill_group(server)


def _recorded(store):
    with closing(sqlite3.connect(store, timeout=30)) as connection:
        sql = "SELECT count(*) FROM params JOIN runs USING (run_uuid) WHERE name = ?"
        return connection.execute(sql, [STAGE]).fetchone()[0]
