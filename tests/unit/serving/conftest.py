"""Run a real server in a thread, with models that need no training."""

import asyncio
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.super_resolver import check_input, check_msi
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.limits import Limits
from hsipipe.serving.model import Pinned
from hsipipe.serving.rehearsal import prepare_rehearsals
from hsipipe.serving.server import bind, is_loopback, make_server
from hsipipe.serving.service import ModelServer

DEADLINE_S = 60


def wait_until(condition):
    """Poll until the condition holds; fail after the deadline."""
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, "the condition never held"
        time.sleep(0.01)


@dataclass
class Source:
    """Source of prepared models by version."""

    models: dict
    wanted: str = "1"

    def resolve(self):
        return Pinned("tiny", self.wanted, f"models:/tiny/{self.wanted}", self.wanted.rjust(64, "0"))

    def load(self, pinned):
        model = self.models[pinned.version]
        if isinstance(model, Exception):
            raise model
        return model


@dataclass(frozen=True)
class Fusion:
    """Fusion by hand: repeat every LR pixel, and add the mean of the HR-MSI."""

    bands: int | None = 4
    msi_bands: int | None = 2
    scale: int = 2
    nfe: int = 0
    name: str = "fusion-by-hand"

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        check_input(lr, bands=self.bands)
        fine = check_msi(msi, lr, scale=self.scale, bands=self.msi_bands)
        return lr.repeat(self.scale, axis=2).repeat(self.scale, axis=3) + fine.mean(axis=1, keepdims=True)


@dataclass(frozen=True)
class Gate(Bicubic):
    """Bicubic that holds predictions of 5 bands until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def predict(self, lr, *, msi=None, origin=(0, 0)):
        if lr.shape[1] == 5:
            self.entered.release()
            assert self.opened.wait(DEADLINE_S)
        return super().predict(lr)


@dataclass
class Client:
    """Client of a server."""

    port: int
    server: ModelServer
    end: Callable[[], None]
    loop: Callable[[], asyncio.AbstractEventLoop]
    thread: threading.Thread

    def ask(self, method, path, body=None, headers=None, **options):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
            connection.request(method, path, body, headers or {}, **options)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def get(self, path):
        status, _, body = self.ask("GET", path)
        return status, json.loads(body)

    def predict(self, array, query=""):
        """Send an array as .npy, and return the answer as array."""
        status, headers, body = self.ask("POST", f"/predict{query}", npy(array))
        assert status == 200, body
        return np.load(io.BytesIO(body)), headers

    def refused(self, body, query="", **options):
        """Send an invalid request, and return status and error."""
        status, headers, answer = self.ask("POST", f"/predict{query}", body, **options)
        tree = json.loads(answer)
        assert list(tree) == ["error"]
        assert headers["Content-Type"] == "application/json"
        assert "\n" not in tree["error"]
        assert "hsipipe-request" not in tree["error"]
        return status, tree["error"]


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@contextmanager
def connected(client):
    """Open a raw connection to a server."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=DEADLINE_S) as connection:
        yield connection


def until_closed(connection):
    """Read to the end of the answer and the connection."""
    got = b""
    while block := connection.recv(65536):
        got += block
    return got


@pytest.fixture
def serve():
    """Start a server with limits and return its client: ``serve(model, workers=2)``."""
    ends = []

    def serve(model, *, token=None, follow_s=None, **limits):
        source = model if isinstance(model, Source) else Source({"1": model})
        manager = running(source, token=token, follow_s=follow_s, limits=Limits(**{"grace_s": 5.0, **limits}))
        client = manager.__enter__()
        ends.append(manager)
        return client

    yield serve
    for manager in reversed(ends):
        manager.__exit__(None, None, None)


@pytest.fixture(scope="session")
def bicubic():
    """Client of one bicubic server with default limits, for tests that change nothing in it."""
    with running(Source({"1": Bicubic(2)}), limits=Limits(grace_s=5.0)) as client:
        yield client


@contextmanager
def running(source, *, limits, host="127.0.0.1", allowed_hosts=(), **options):
    with bind(host, 0) as bound:
        hosts = Hosts(local=is_loopback(bound), allowed=allowed_hosts)
        model_server = ModelServer(source, limits=limits, **options)
        started = threading.Event()
        server = make_server(model_server, hosts=hosts, started=started.set)

        def end():
            server.should_exit = True

        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            assert started.wait(DEADLINE_S)
            wait_until(lambda: server.started)
            yield Client(bound.getsockname()[1], model_server, end, lambda: server.servers[0].get_loop(), thread)
        finally:
            end()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


@pytest.fixture(scope="session", autouse=True)
def children():
    """Start what the readers of uploads are forked from before a test looks at the temporary folder, in which it is."""
    prepare_rehearsals()


def is_refused(client):
    """True where the port of the server is closed."""
    try:
        socket.create_connection(("127.0.0.1", client.port), timeout=DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    return False
