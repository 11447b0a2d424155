"""Run the model server as a process with a real registry: move an alias under load, then shut down."""

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import dask
import numpy as np
import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from hsipipe.errors import HsipipeError
from hsipipe.model_registry.store import connect
from hsipipe.params import load_params
from hsipipe.storage.publish import publish
from tasks.tracking import register_model
from tasks.tracking.runs import stage_run

# MLflow warns of the annotations of its own classes when log_model imports them for the first time.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("servers"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

NAME, BANDS, DEADLINE_S = "hsipipe-synthetic-x4", 8, 120


@pytest.fixture
def root(tmp_path, repository, fresh_store):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(repository / name, tmp_path / name)
    shutil.copyfile(fresh_store, tmp_path / "mlflow.db")
    return tmp_path


def register(root, model, seed):
    """Register a model, and return its version."""
    folder = root / str(seed) / "superresolver"
    with publish(folder) as out:
        model.save(out)
    params = load_params(root / "params.yaml")
    with stage_run(root, "register", params=params, visible={}, digests={}) as tracker:
        return str(register_model(root, folder, tracker=tracker, model=model, tags={}))


def promote(root, version):
    connect(root).set_registered_model_alias(NAME, "champion", version)


class Server:
    def __init__(self, process, port):
        self.process, self.port = process, port

    def ask(self, method, path, body=None):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def version(self):
        return json.loads(self.ask("GET", "/model")[2])["version"]


@contextmanager
def served(root, environment, *options, command=None):
    command = command or [sys.executable, "-m", "flows", "model-server", "--port", "0", *options]
    process = subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("serving "), process.communicate()[1]
        yield Server(process, int(line.rsplit(":", 1)[1]))
    finally:
        process.kill()
        process.communicate()


def wait_until(condition):
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, "the condition never held"
        time.sleep(0.05)


@pytest.fixture
def environment_here(environment, repository):
    return {**environment, "PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}


def client(server, models, cubes, answers, enough):
    """Predict all cubes until `enough`; record the version of each answer, or its error."""
    expected = {version: [model.predict(lr[None])[0] for lr in cubes] for version, model in models.items()}
    while not enough.is_set():
        for number, lr in enumerate(cubes):
            stream = io.BytesIO()
            np.save(stream, lr)
            status, headers, body = server.ask("POST", "/predict", stream.getvalue())
            version = headers.get("X-Model-Version")
            right = status == 200 and np.array_equal(np.load(io.BytesIO(body)), expected[version][number])
            answers.append(version if right else f"{status}: {body[:200]!r}")


def test_an_alias_moves_under_load_and_no_request_fails(root, environment_here, small_model):
    models = {register(root, small_model(seed), seed): small_model(seed) for seed in (1, 2)}
    assert sorted(models) == ["1", "2"]
    promote(root, "1")
    cubes = np.random.default_rng(0).random((3, BANDS, 16, 16), dtype=np.float32)
    answers, enough = [], threading.Event()
    with served(root, environment_here, "--model", f"models:/{NAME}@champion", "--host", "0.0.0.0") as server:
        arguments = (server, models, cubes, answers, enough)
        clients = [threading.Thread(target=client, args=arguments) for _ in range(3)]
        for thread in clients:
            thread.start()
        try:
            wait_until(lambda: len(answers) >= 10)
            promote(root, "2")
            assert set(answers) == {"1"}  # pinned: a moved alias alone changes nothing
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: answers[-3:] == ["2"] * 3)
            promote(root, "1")
            assert server.ask("POST", "/model/refresh")[0] == 202
            wait_until(lambda: answers[-3:] == ["1"] * 3)
        finally:
            enough.set()
            for thread in clients:
                thread.join()
        assert set(answers) == {"1", "2"}
        damage(root)
        promote(root, "2")
        assert server.ask("POST", "/model/refresh")[0] == 202
        wait_until(lambda: json.loads(server.ask("GET", "/model")[2])["last_failed_switch"])
        assert (
            "model.safetensors has sha256" in json.loads(server.ask("GET", "/model")[2])["last_failed_switch"]["error"]
        )
        assert server.version() == "1"
        assert server.ask("GET", "/health")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        _, log = server.process.communicate(timeout=DEADLINE_S)
        assert server.process.returncode == 0
    assert "is open to other machines, without TLS" in log


def damage(root):
    """Flip a bit of every stored weight."""
    for weights in (root / "mlartifacts").rglob("model.safetensors"):
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)


def until_closed(server, body, answers):
    """Predict on one open connection until the server closes it; record each status or error."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)) as connection:
        while not answers or answers[-1] == 200:
            try:
                connection.request("POST", "/predict", body)
                answer = connection.getresponse()
                answer.read()
                answers.append(answer.status)
                if answer.headers.get("Connection") == "close":
                    return
            except (OSError, http.client.HTTPException) as error:
                answers.append(repr(error))


def test_signals_under_load_lose_no_request(tmp_path, environment_here, small_model):
    with publish(tmp_path / "model") as out:
        small_model(1).save(out)
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(0).random((BANDS, 16, 16), dtype=np.float32))
    answers = [[] for _ in range(6)]
    with served(tmp_path, environment_here, "--model", "model") as server:
        threads = [threading.Thread(target=until_closed, args=(server, stream.getvalue(), each)) for each in answers]
        for thread in threads:
            thread.start()
        for enough in (2, 4, 6):
            wait_until(lambda enough=enough: all(len(each) >= enough for each in answers))
            server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGHUP)
        for thread in threads:
            thread.join(DEADLINE_S)
            server.process.send_signal(signal.SIGHUP)
        _, log = server.process.communicate(timeout=DEADLINE_S)
        assert server.process.returncode in (0, -signal.SIGHUP)  # a hangup may come after the end of the server
    assert {status for each in answers for status in each} <= {200, 503}
    assert all(len(each) >= 6 for each in answers)
    assert "Traceback" not in log


HANGING = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from hsipipe.commands import model_server
from hsipipe.serving.limits import Limits

class Hanging(model_server.FolderSource):
    def resolve(self):
        if threading.current_thread() is not threading.main_thread():
            print("asked", flush=True)
            ThreadPoolExecutor(1).submit(threading.Event().wait).result()  # as a download of MLflow
        return super().resolve()

model_server.FolderSource = Hanging
model_server.serve_model("model", host="127.0.0.1", port=0, limits=Limits(grace_s=5.0))
"""


def test_a_registry_that_hangs_does_not_hold_up_the_process(tmp_path, environment_here, small_model):
    with publish(tmp_path / "model") as out:
        small_model(1).save(out)
    with served(tmp_path, environment_here, command=[sys.executable, "-c", HANGING]) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stdout.readline() == "asked\n"
        assert server.ask("GET", "/health")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        _, log = server.process.communicate(timeout=DEADLINE_S / 4)
        assert server.process.returncode == 0
    assert "the switch of the model does not end; it is given up" in log


def test_what_cannot_be_served_is_one_error(root, monkeypatch):
    def error_of(*options):
        with dask.config.set(scheduler=None):  # the server sets it for its process
            result = CliRunner().invoke(app, ["model-server", *map(str, options)])
        assert isinstance(result.exception, HsipipeError), result.output
        return str(result.exception)

    monkeypatch.chdir(root)
    assert f"No model at 'models:/{NAME}@champion'" in error_of("--model", f"models:/{NAME}@champion", "--port", 0)
    (root / "model").mkdir()
    (root / "model" / "MANIFEST.json").write_text('{"files": {}}')
    assert "Got the allowed host 'http://x', expected a name" in error_of(
        "--model", root / "model", "--port", 0, "--allowed-host", "http://x"
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert f"Cannot serve at 127.0.0.1:{port}" in error_of("--model", root / "model", "--port", port)
