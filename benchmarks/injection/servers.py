"""MLflow and Prefect that are down, die or are busy."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from injection.invariants import nobody_left, nothing_half_written, same_results
from injection.laboratory import PIPELINE, REPRO, begun, check, wait_until
from injection.recovery import SINGLE, STAGE, Laboratory, complaint, recovers, shortened


@contextmanager
def mlflow_server(lab: Laboratory, folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:

    folder.mkdir(parents=True)
    store = f"sqlite:///{folder / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(
            [*command, "--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")],
            cwd=folder,
            env=dict(lab.env),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answers() -> bool:
        check(child.poll() is None, f"mlflow server ended: {(folder / 'log').read_text()[-1500:]}")
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, "the answer of mlflow server")
        yield child
    finally:
        _kill_group(child)


def _kill_group(child: "subprocess.Popen[bytes]") -> None:

    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def free_port() -> int:

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mlflow_down(lab: Laboratory) -> str:
    checkout = lab.checkout(SINGLE, [STAGE])
    address = f"http://127.0.0.1:{free_port()}"
    code, said = checkout.run(*REPRO, env={"MLFLOW_TRACKING_URI": address})
    line = complaint(code, said, address, "cannot be used")
    recovers(lab, checkout)
    return shortened(line, checkout)


def mlflow_dies(lab: Laboratory) -> str:
    """The record is lost, the result is not."""
    checkout = lab.checkout(SINGLE, [STAGE])
    port = free_port()
    env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    with mlflow_server(lab, checkout.root.parent / "mlflow", port) as server:
        with begun(checkout, STAGE, *REPRO, env=env) as child:
            # Before the stage's run exists there is nothing to lose, and the stage refuses to begin.
            wait_until(
                lambda: _runs(checkout.root.parent / "mlflow" / "mlflow.db") or child.is_over(), "a run in MLflow"
            )
            _kill_group(server)
            code, said = child.end()
    check("stopped answering" in said, f"the loss of MLflow is not told ({code}): {said[-1500:]}")
    same_results(checkout.root, lab.reference(SINGLE), only=frozenset({STAGE}))
    recovers(lab, checkout)
    return f"exit {code}; the stage goes on without its record"


_RECORDED = "SELECT count(*) FROM params JOIN runs USING (run_uuid) WHERE name = ?"


def _runs(store: Path) -> int:
    with sqlite3.connect(store, timeout=30) as connection:
        (count,) = connection.execute(_RECORDED, [STAGE]).fetchone()
    connection.close()
    return int(count)


def database_locked(lab: Laboratory, *, seconds: float = 20.0) -> str:
    """Another process holds the SQLite store for a while, from before the stage begins."""
    checkout = lab.checkout(SINGLE, [STAGE])
    release = threading.Event()
    holder = sqlite3.connect(checkout.root / "mlflow.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")

    def give_back() -> None:
        release.wait(seconds)
        holder.execute("ROLLBACK")

    thread = threading.Thread(target=give_back)
    thread.start()
    try:
        code, said = checkout.run(*REPRO)
    finally:
        release.set()
        thread.join()
        holder.close()
    check(code == 0, f"locked for {seconds:.0f} s, it ended with {code}: {said[-1500:]}")
    recovers(lab, checkout)
    return f"locked for {seconds:.0f} s: the stage waits and ends well"


def prefect_down(lab: Laboratory) -> str:
    checkout = lab.checkout(SINGLE, [STAGE])
    address = f"http://127.0.0.1:{free_port()}/api"
    code, said = checkout.run(*PIPELINE, env={"PREFECT_API_URL": address})
    line = complaint(code, said, address, "does not answer")
    recovers(lab, checkout)
    return shortened(line, checkout)


def prefect_dies(lab: Laboratory) -> str:
    """The server is killed in the middle of a flow; the plain command afterwards needs none."""

    checkout = lab.checkout(SINGLE, [STAGE])
    port = free_port()
    home = checkout.root.parent / "prefect"
    home.mkdir()
    env = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_HOME": str(home)}
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            cwd=home,
            env={**lab.env, **env},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answers() -> bool:
        try:
            return httpx.get(f"{env['PREFECT_API_URL']}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, "the answer of the Prefect server")
        with begun(checkout, STAGE, *PIPELINE, env=env) as child:
            _kill_group(server)
            code, _ = child.end(timeout_s=400)
            nobody_left(checkout)
            nothing_half_written(checkout.root)
    finally:
        _kill_group(server)
    recovers(lab, checkout)
    return f"the flow ends with exit {code}, nobody is left over"
