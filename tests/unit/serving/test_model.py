"""Describe and replace the model in service."""

import json
import threading

import numpy as np
import pytest

from hsipipe.errors import IntegrityError, MissingInputError, ModelInputError
from hsipipe.methods.bicubic import Bicubic
from hsipipe.methods.domain import Domain
from hsipipe.serving.descriptions import Units
from hsipipe.serving.limits import Limits
from hsipipe.serving.service import ModelServer

from .conftest import Gate, Source, wait_until

pytestmark = pytest.mark.xdist_group("servers")

LR = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
BLOCKING = np.random.default_rng(0).random((5, 6, 5), dtype=np.float32)


def refresh(client, **headers):
    status, _, body = client.ask("POST", "/model/refresh", headers=headers)
    return status, json.loads(body)


def metric(client, name):
    text = client.ask("GET", "/metrics")[2].decode()
    return [line for line in text.splitlines() if line.startswith(name)]


def test_the_model_in_service_is_described(bicubic):
    status, tree = bicubic.get("/model")
    since = tree.pop("since")
    assert status == 200
    assert since.endswith("+00:00")
    assert tree == {
        "name": "tiny", "version": "1", "uri": "models:/tiny/1", "sha256": "1".rjust(64, "0"), "kind": "bicubic",
        "scale": 2, "bands": None, "msi_bands": 0, "is_switching": False, "last_failed_switch": None,
        "wavelength_nm": None, "value_range": None, "units": Units().model_dump(),
    }  # fmt: skip


class Trained(Bicubic):
    """Bicubic that knows training images."""

    domain = Domain((450.0, 550.0, 650.0), 0.0, 0.9, 0.001, np.eye(3)[:1], 0.1)


def test_what_the_model_was_trained_on_is_described(serve):
    tree = serve(Trained(2)).get("/model")[1]
    assert (tree["wavelength_nm"], tree["value_range"]) == ([450.0, 550.0, 650.0], [0.0, 0.9])
    assert tree["units"]["wavelength_nm"] == "nm"
    assert "full_scale" in tree["units"]["value_range"]


def test_a_refresh_switches_to_the_version_that_is_wanted_now(serve):
    source = Source({"1": Bicubic(2), "2": Bicubic(3)})
    client = serve(source)
    assert client.predict(LR)[1]["X-Model-Version"] == "1"
    source.wanted = "2"
    assert refresh(client) == (202, {"started": True})
    wait_until(lambda: client.get("/model")[1]["version"] == "2")
    sr, headers = client.predict(LR)
    assert (sr.shape, headers["X-Model-Version"]) == ((4, 18, 15), "2")
    assert metric(client, "hsipipe_model_info") == [
        f'hsipipe_model_info{{name="tiny",sha256="{"2".rjust(64, "0")}",version="2"}} 1.0'
    ]
    assert metric(client, "hsipipe_model_switches_total") == ["hsipipe_model_switches_total 2.0"]


def test_a_request_in_flight_ends_with_the_model_that_it_began_with(serve):
    gate = Gate(2)
    source = Source({"1": gate, "2": Bicubic(3)})
    client = serve(source)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.predict(BLOCKING)))
    thread.start()
    assert gate.entered.acquire(timeout=60)
    source.wanted = "2"
    refresh(client)
    wait_until(lambda: client.get("/model")[1]["version"] == "2")
    gate.opened.set()
    thread.join()
    ((sr, headers),) = answers
    assert (sr.shape, headers["X-Model-Version"]) == ((5, 12, 10), "1")


class Failing(Bicubic):
    def predict(self, lr, *, msi=None, origin=(0, 0)):
        raise RuntimeError("no kernel image")


class Nan(Bicubic):
    def predict(self, lr, *, msi=None, origin=(0, 0)):
        return super().predict(lr) * np.float32(np.nan)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (IntegrityError("model.safetensors has another sha256"), "another sha256"),
        (Failing(2), "no kernel image"),
        (Nan(2), "expected finite"),
    ],
)
def test_a_model_that_fails_leaves_the_old_one_in_service(serve, caplog, bad, error):
    source = Source({"1": Bicubic(2), "2": bad, "3": Bicubic(3)})
    client = serve(source)
    source.wanted = "2"
    refresh(client)
    wait_until(lambda: client.get("/model")[1]["last_failed_switch"])
    tree = client.get("/model")[1]
    assert tree["version"] == "1"
    assert error in tree["last_failed_switch"]["error"]
    assert "tiny version 2 cannot be put in service, tiny version 1 stays" in caplog.text
    assert client.predict(LR)[1]["X-Model-Version"] == "1"
    source.wanted = "3"
    refresh(client)
    wait_until(lambda: client.get("/model")[1]["version"] == "3")


def test_a_registry_that_cannot_be_asked_leaves_the_old_one_in_service(serve, monkeypatch):
    source = Source({"1": Bicubic(2)})
    client = serve(source)
    monkeypatch.setattr(source, "resolve", lambda: (_ for _ in ()).throw(MissingInputError("the store is away")))
    refresh(client)
    wait_until(lambda: client.get("/model")[1]["last_failed_switch"])
    assert client.get("/model")[1]["version"] == "1"


def test_it_can_follow_by_itself(serve):
    source = Source({"1": Bicubic(2), "2": Bicubic(3)})
    client = serve(source, follow_s=0.02)
    source.wanted = "2"
    wait_until(lambda: client.get("/model")[1]["version"] == "2")


def test_requests_for_a_refresh_do_not_pile_up(serve):
    class Slow(Source):
        def resolve(self):
            pinned = super().resolve()
            if threading.current_thread().name.startswith("model-loader"):
                assert gate.wait(60)
            return pinned

    gate = threading.Event()
    client = serve(Slow({"1": Bicubic(2)}))
    assert [refresh(client)[1]["started"] for _ in range(4)] == [True, True, False, False]
    assert client.get("/model")[1]["is_switching"]
    gate.set()
    wait_until(lambda: not client.get("/model")[1]["is_switching"])


def test_with_a_token_only_its_bearer_may_refresh(serve):
    client = serve(Bicubic(2), token="secret")
    assert refresh(client)[0] == 401
    assert refresh(client, Authorization="Bearer wrong")[0] == 401
    assert "HSIPIPE_SERVER_TOKEN" in refresh(client, Authorization="secret")[1]["error"]
    assert refresh(client, Authorization="Bearer secret")[0] == 202


def test_without_a_token_what_was_passed_on_may_not_refresh(serve):
    client = serve(Bicubic(2))
    passed_on = {name: "203.0.113.9" for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP")}
    for header, value in {**passed_on, "Origin": f"http://127.0.0.1:{client.port}"}.items():
        status, tree = refresh(client, **{header: value})
        assert (status, "HSIPIPE_SERVER_TOKEN" in tree["error"]) == (403, True), header
    assert refresh(client)[0] == 202


def test_the_health_is_that_of_the_model(serve, monkeypatch):
    monkeypatch.setattr("hsipipe.serving.service._TRIAL_S", 0.0)

    class Moody(Bicubic):
        broken = threading.Event()

        def predict(self, lr, *, msi=None, origin=(0, 0)):
            if self.broken.is_set():
                raise RuntimeError("the GPU is away")
            return super().predict(lr)

    client = serve(Moody(2))
    assert client.get("/health") == (200, {"status": "ok"})
    Moody.broken.set()
    assert client.get("/health") == (503, {"error": "A tiny prediction failed: the GPU is away"})
    Moody.broken.clear()
    assert client.get("/health")[0] == 200


def test_a_model_that_does_not_predict_is_never_served():
    with pytest.raises(ModelInputError, match="expected finite"):
        ModelServer(Source({"1": Nan(2)}), limits=Limits())


def test_requests_are_counted_by_route_and_status(serve):
    client = serve(Bicubic(2))
    client.predict(LR)
    client.refused(b"x")
    wait_until(lambda: len(metric(client, 'hsipipe_requests_total{route="/predict"')) == 2)
    lines = metric(client, 'hsipipe_requests_total{route="/predict"')
    assert sorted(lines) == [
        'hsipipe_requests_total{route="/predict",status="200"} 1.0',
        'hsipipe_requests_total{route="/predict",status="415"} 1.0',
    ]
    assert metric(client, 'hsipipe_request_seconds_count{route="/predict"}')[0].endswith(" 2.0")
