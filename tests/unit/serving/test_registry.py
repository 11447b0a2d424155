"""Serve while the registry is slow, hangs, answers garbage or moves its alias: the old model stays in service."""

import threading
import time

import numpy as np
import pytest

from hsipipe.methods.bicubic import Bicubic
from hsipipe.serving.model import Pinned

from .conftest import DEADLINE_S, Source, wait_until

pytestmark = pytest.mark.xdist_group("servers")

LR = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)


class Registry(Source):
    """Source whose answers to the server can be changed: ``registry.resolving = function of the usual answer``."""

    resolving = loading = staticmethod(lambda usual: usual)

    def resolve(self):
        return self.resolving(super().resolve())

    def load(self, pinned):
        return self.loading(super().load(pinned))


class Hang:
    """Hold each caller until it is opened."""

    def __init__(self):
        self.opened, self.entered = threading.Event(), threading.Semaphore(0)

    def __call__(self, usual):
        self.entered.release()
        assert self.opened.wait(DEADLINE_S)
        return usual


@pytest.fixture
def hang():
    hang = Hang()
    yield hang
    hang.opened.set()


@pytest.fixture
def registry():
    return Registry({"1": Bicubic(2), "2": Bicubic(3), "3": Bicubic(4)})


def refresh(client):
    assert client.ask("POST", "/model/refresh")[0] == 202


def failure(client):
    """Wait for the end of a switch, and return its error."""
    wait_until(lambda: not client.get("/model")[1]["is_switching"])
    return (client.get("/model")[1]["last_failed_switch"] or {"error": None})["error"]


def serves(client, version, scale):
    sr, headers = client.predict(LR)
    return headers["X-Model-Version"] == version and np.array_equal(sr, Bicubic(scale).predict(LR[None])[0])


@pytest.mark.parametrize("step", ["resolving", "loading"])
def test_a_registry_that_hangs_holds_up_no_request(serve, registry, hang, step):
    client = serve(registry)
    registry.wanted = "2"
    setattr(registry, step, hang)
    refresh(client)
    assert hang.entered.acquire(timeout=DEADLINE_S)
    assert serves(client, "1", 2)
    assert client.get("/health")[0] == 200
    assert client.get("/model")[1]["is_switching"]
    hang.opened.set()
    assert failure(client) is None
    assert serves(client, "2", 3)


@pytest.mark.parametrize("step", ["resolving", "loading"])
def test_a_switch_that_takes_too_long_is_abandoned(serve, registry, hang, step):
    client = serve(registry, load_s=0.1)
    registry.wanted = "2"
    setattr(registry, step, hang)
    refresh(client)
    assert failure(client) == "not loaded within 0.1 s; check the registry."
    assert serves(client, "1", 2)
    setattr(registry, step, lambda usual: usual)
    registry.wanted = "3"
    refresh(client)
    wait_until(lambda: serves(client, "3", 4))
    hang.opened.set()  # the abandoned switch ends now, with version 2
    wait_until(lambda: not client.server.model.is_hanging)
    assert serves(client, "3", 4)


def test_switches_that_hang_do_not_pile_up(serve, registry, hang):
    client = serve(registry, load_s=0.05)
    registry.resolving = hang
    for _ in range(3):
        refresh(client)
        assert "not loaded within" in failure(client)
    refresh(client)
    assert failure(client) == "3 earlier switches still hang; check the registry, or restart the server."
    hang.opened.set()
    wait_until(lambda: not client.server.model.is_hanging)
    registry.wanted = "2"
    refresh(client)
    wait_until(lambda: serves(client, "2", 3))


def test_a_registry_that_hangs_does_not_hold_up_the_end(serve, registry, hang, monkeypatch):
    monkeypatch.setattr("hsipipe.serving.model._CLOSE_S", 0.1)
    client = serve(registry)
    registry.resolving = hang
    refresh(client)
    refresh(client)
    assert hang.entered.acquire(timeout=DEADLINE_S)
    begun = time.monotonic()
    client.end()
    client.thread.join(DEADLINE_S)
    assert time.monotonic() - begun < DEADLINE_S / 4
    assert client.server.model.is_hanging
    assert not client.server.model.refresh()
    hang.opened.set()
    wait_until(lambda: not client.server.model.is_hanging)
    assert client.server.model.current.pinned.version == "1"


@pytest.mark.parametrize(
    ("step", "garbage"),
    [
        ("resolving", None),
        ("resolving", "<html>Bad gateway</html>"),
        ("resolving", Pinned("tiny", "9", "models:/tiny/9", "0" * 64)),
        ("resolving", Pinned("", "", "", "")),
        ("loading", None),
        ("loading", object()),
        ("loading", SystemExit("a library gave up")),
        ("loading", MemoryError()),
    ],
)
@pytest.mark.filterwarnings("error")
def test_garbage_of_the_registry_leaves_the_old_model_in_service(serve, registry, step, garbage):
    def give(usual):
        if isinstance(garbage, BaseException):
            raise garbage
        return garbage

    client = serve(registry)
    registry.wanted = "2"
    setattr(registry, step, give)
    refresh(client)
    assert failure(client)
    assert serves(client, "1", 2)
    setattr(registry, step, lambda usual: usual)
    refresh(client)
    wait_until(lambda: serves(client, "2", 3))


def test_an_alias_that_moves_while_a_version_is_loaded_never_mixes_two(serve, registry, hang):
    client = serve(registry, follow_s=0.02)
    registry.loading = hang
    registry.wanted = "2"
    assert hang.entered.acquire(timeout=DEADLINE_S)
    registry.wanted = "3"
    assert serves(client, "1", 2)
    registry.loading = lambda usual: usual
    hang.opened.set()
    wait_until(lambda: client.get("/model")[1]["version"] == "3")
    assert serves(client, "3", 4)
    assert client.get("/model")[1]["last_failed_switch"] is None


def test_an_alias_that_moves_all_the_time_gives_right_answers(serve, registry):
    client = serve(registry, follow_s=0.001)
    scales, seen = {"1": 2, "2": 3, "3": 4}, set()
    expected = {version: Bicubic(scale).predict(LR[None])[0] for version, scale in scales.items()}
    for turn in range(60):
        registry.wanted = str(turn % 3 + 1)
        sr, headers = client.predict(LR)
        seen.add(headers["X-Model-Version"])
        np.testing.assert_array_equal(sr, expected[headers["X-Model-Version"]])
    assert len(seen) > 1
