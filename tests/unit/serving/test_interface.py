"""The description of the interface: every status that a route answers with, and an example of each."""

import json

import numpy as np
import pytest

from hsipipe.methods.bicubic import Bicubic

from .conftest import Gate, connected, npy, until_closed, wait_until

pytestmark = pytest.mark.xdist_group("servers")

LR = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
BLOCKING = np.random.default_rng(0).random((5, 6, 5), dtype=np.float32)
FOREIGN = {"Origin": "http://other.example"}
HUGE = {"Content-Length": str(512 << 20)}
ROUTES = {("POST", "/predict"), ("GET", "/health"), ("GET", "/model"), ("POST", "/model/refresh"), ("GET", "/metrics")}


@pytest.fixture(scope="module")
def tree(bicubic):
    status, tree = bicubic.get("/openapi.json")
    assert status == 200
    return tree


def responses(tree, method, path):
    return tree["paths"][path][method.lower()]["responses"]


def example(tree, method, path, status):
    return responses(tree, method, path)[str(status)]["content"]["application/json"]["example"]["error"]


def test_every_route_is_described_with_statuses_that_have_examples(tree):
    described = {(method.upper(), path) for path, ways in tree["paths"].items() for method in ways}
    assert described == ROUTES
    for method, path in ROUTES:
        found = responses(tree, method, path)
        assert set(found) >= {"400", "403", "408", "413", "421", "500", "503"}
        assert "422" not in found  # FastAPI's own, which this server does not send
        for status, answer in found.items():
            assert answer["description"], (path, status)
            for content in answer["content"].values():
                assert content.get("example") or "$ref" in content["schema"], (path, status)
    assert set(responses(tree, "POST", "/predict")) >= {"200", "415", "504"}
    assert set(responses(tree, "POST", "/model/refresh")) >= {"202", "401"}
    assert "image/tiff" in tree["paths"]["/predict"]["post"]["requestBody"]["content"]
    schemas = tree["components"]["schemas"]
    assert set(schemas["ModelDescription"]["example"]) == set(schemas["ModelDescription"]["properties"])
    assert "HTTPValidationError" not in schemas


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
@pytest.mark.parametrize(("headers", "status"), [(FOREIGN, 403), ({"Host": "other.example"}, 421), (HUGE, 413)])
def test_a_refusal_by_the_head_is_the_described_one(bicubic, tree, method, path, headers, status):
    with connected(bicubic) as connection:
        lines = {"Host": "localhost", "Connection": "close", **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = until_closed(connection)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == example(tree, method, path, status)


@pytest.mark.parametrize(("body", "query", "status"), [(npy(LR), "?overlap=40", 400), (b"garbage", "", 415)])
def test_a_refusal_of_a_prediction_is_the_described_one(bicubic, tree, body, query, status):
    assert bicubic.refused(body, query) == (status, example(tree, "POST", "/predict", status))


def test_a_prediction_that_takes_too_long_is_described(serve, tree):
    gate = Gate(2)
    client = serve(gate, predict_s=0.2)
    status, error = client.refused(npy(BLOCKING))
    gate.opened.set()
    assert (status, error.replace("0.2 s", "300 s")) == (504, example(tree, "POST", "/predict", 504))


def test_a_slow_body_is_described(serve, tree):
    with connected(serve(Bicubic(2), body_s=0.2)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nslow")
        answer = until_closed(connection)
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error.replace("0.2 s", "120 s") == example(tree, "POST", "/predict", 408)


def test_a_model_that_does_not_predict_and_a_missing_token_are_described(serve, tree):
    class Broken(Bicubic):
        def predict(self, lr, *, msi=None, origin=(0, 0)):
            if lr.shape[1] == 4:
                raise RuntimeError("secret")
            return super().predict(lr)

    client = serve(Broken(2), token="secret")
    assert client.refused(npy(LR)) == (500, example(tree, "POST", "/predict", 500))
    status, _, body = client.ask("POST", "/model/refresh")
    assert (status, json.loads(body)["error"]) == (401, example(tree, "POST", "/model/refresh", 401))


def test_answers_have_the_described_types(bicubic, tree):
    for path in ("/health", "/model", "/metrics"):
        status, headers, _ = bicubic.ask("GET", path)
        assert headers["Content-Type"].partition(";")[0] in responses(tree, "GET", path)[str(status)]["content"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, body = bicubic.ask("POST", "/predict", npy(LR))
    described = responses(tree, "POST", "/predict")["200"]
    assert headers["Content-Type"] in described["content"]
    assert set(described["headers"]) >= {name for name in headers if name.startswith("X-Model")}
    assert body == bicubic.ask("POST", "/predict", npy(LR), {"Accept": "*/*"})[2]


def test_a_started_switch_is_described(serve, tree):
    client = serve(Bicubic(2))
    status, _, body = client.ask("POST", "/model/refresh")
    wait_until(lambda: not client.get("/model")[1]["is_switching"])
    assert (status, json.loads(body)) == (202, {"started": True})
    assert str(status) in responses(tree, "POST", "/model/refresh")
