"""Bound every client: no client harms another."""

import json
import os
import tempfile
import threading
import time

import numpy as np
import pytest

from hsipipe.errors import ParamsError
from hsipipe.methods.bicubic import Bicubic
from hsipipe.serving.limits import Limits

from .conftest import DEADLINE_S, Gate, Source, connected, is_refused, npy, running, until_closed, wait_until

pytestmark = pytest.mark.xdist_group("servers")

LR = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
BLOCKING = np.random.default_rng(0).random((5, 6, 5), dtype=np.float32)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Folder for the files of requests; empty after each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    wait_until(lambda: not list(folder.iterdir()))


@pytest.fixture(scope="module")
def hasty():
    """Client of a server with short times for heads and bodies."""
    with running(Source({"1": Bicubic(2)}), limits=Limits(head_s=0.2, body_s=0.2, grace_s=5.0)) as client:
        yield client


def refused(client, reason):
    text = client.ask("GET", "/metrics")[2].decode()
    line = f'hsipipe_refused_total{{reason="{reason}"}}'
    return next((float(entry.split()[-1]) for entry in text.splitlines() if entry.startswith(line)), 0.0)


WAY = "cut the cube, or predict its file with the command hsipipe predict, which takes scenes of any size"


def test_a_body_that_says_it_is_too_large_is_not_read(serve):
    client = serve(Bicubic(2), body_bytes=1000)
    with connected(client) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
        )
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Got a body of 1001 bytes, expected at most 1000" in answer
    assert client.refused(bytes(100_000)) == (413, f"Got a body of 100000 bytes, expected at most 1000; {WAY}.")
    assert refused(client, "body") == 2


def test_a_body_that_does_not_say_its_size_is_counted(serve):
    client = serve(Bicubic(2), body_bytes=1000)
    blocks = (bytes(500) for _ in range(10))
    status, _, body = client.ask("POST", "/predict", blocks, encode_chunked=True)
    assert status == 413
    assert b"Got a body of at least " in body
    assert client.ask("POST", "/predict", npy(LR))[0] == 200


def test_a_body_that_never_ends_is_given_up(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n\x93NUM")
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.2 s" in answer


@pytest.mark.parametrize(
    ("begin", "answer"),
    [(b"", b""), (b"POST /predict HTTP/1.1\r\nHost:", b"HTTP/1.1 408 "), (b"\r\n\r\n", b"HTTP/1.1 4")],
)
def test_a_head_that_never_ends_is_given_up(hasty, begin, answer):
    with connected(hasty) as connection:
        connection.sendall(begin)
        assert until_closed(connection).startswith(answer)


def test_a_second_head_on_a_connection_has_the_same_time(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /model HTTP/1.1\r\nHost")
        assert b"No complete head of a request within 0.2 s." in until_closed(connection)


def test_a_slow_prediction_is_not_taken_for_a_slow_head(serve):
    gate = Gate(2)
    client = serve(gate, head_s=0.1)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.predict(BLOCKING)))
    thread.start()
    assert gate.entered.acquire(timeout=DEADLINE_S)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 0.3)
    gate.opened.set()
    thread.join()
    assert answers[0][0].shape == (5, 12, 10)


def test_garbage_is_answered_with_a_clear_error(bicubic):
    for garbage in (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"GET / HTTP/9\r\n\r\n", os.urandom(4096) + b"\r\n\r\n"):
        with connected(bicubic) as connection:
            connection.sendall(garbage)
            answer = until_closed(connection)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert "Expected HTTP/1.1" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert bicubic.ask("POST", "/predict", npy(LR))[0] == 200


def test_garbage_in_a_chunked_body_ends_that_connection_alone(bicubic):
    with connected(bicubic) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        until_closed(connection)
    assert bicubic.ask("POST", "/predict", npy(LR))[0] == 200


def test_clients_that_break_off_leave_nothing(serve, temporary):
    gate = Gate(2)
    client = serve(gate, queue=1)
    body = npy(BLOCKING)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with connected(client) as connection:  # in the middle of the body
        connection.sendall(head + body[:50])
        wait_until(lambda: list(temporary.iterdir()))
    wait_until(lambda: not list(temporary.iterdir()))
    with connected(client) as working, connected(client) as waiting:  # while it is predicted, or waits
        working.sendall(head + body)
        assert gate.entered.acquire(timeout=DEADLINE_S)
        waiting.sendall(head + body)
        wait_until(lambda: pending(client) == 2)
    wait_until(lambda: pending(client) == 1)  # who waited has left the queue
    gate.opened.set()
    wait_until(lambda: pending(client) == 0)
    assert client.ask("POST", "/predict", npy(LR))[0] == 200


def pending(client):
    text = client.ask("GET", "/metrics")[2].decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith("hsipipe_predictions_pending"))


def test_a_full_queue_says_when_to_come_again(serve):
    gate = Gate(2)
    client = serve(gate, queue=0)
    thread = threading.Thread(target=lambda: client.predict(BLOCKING))
    thread.start()
    assert gate.entered.acquire(timeout=DEADLINE_S)
    status, headers, body = client.ask("POST", "/predict", npy(LR))
    assert (status, headers["Retry-After"]) == (503, "5")
    assert json.loads(body)["error"] == "1 predictions are waiting already; try again later."
    assert client.get("/model")[0] == 200
    gate.opened.set()
    thread.join()
    wait_until(lambda: pending(client) == 0)
    assert client.ask("POST", "/predict", npy(LR))[0] == 200


def test_a_prediction_that_takes_too_long_is_given_up_between_two_tiles(serve):
    gate = Gate(2)
    client = serve(gate, predict_s=0.2)
    status, error = client.refused(npy(np.tile(BLOCKING, (1, 2, 1))), "?tile=6&overlap=0")
    assert (status, error) == (504, f"The prediction took longer than 0.2 s; {WAY}.")
    gate.opened.set()
    wait_until(lambda: pending(client) == 0)
    assert gate.entered.acquire(timeout=DEADLINE_S)
    assert not gate.entered.acquire(blocking=False)  # the second tile was never begun


def test_the_health_tells_workers_that_hang(serve):
    gate = Gate(2)
    client = serve(gate, predict_s=0.05)
    assert client.refused(npy(BLOCKING))[0] == 504
    wait_until(lambda: client.get("/health")[0] == 503)
    assert "Every worker hangs" in client.get("/health")[1]["error"]
    gate.opened.set()
    wait_until(lambda: client.get("/health")[0] == 200)


def test_a_prediction_of_too_many_values_is_refused_before_it_is_made(serve):
    client = serve(Bicubic(2), values=4 * 12 * 10)
    assert client.ask("POST", "/predict", npy(LR))[0] == 200
    for array in (np.zeros((4, 7, 5), np.float32), np.zeros((2, 4, 6, 5), np.float32)):
        status, error = client.refused(npy(array))
        assert status == 413
        assert f"values, expected at most 480; {WAY}." in error


def test_a_tile_is_bounded_by_the_image_or_the_limit(serve):
    client = serve(Bicubic(2), tile=6)
    assert client.ask("POST", "/predict?tile=4000", npy(LR))[0] == 200
    status, error = client.refused(npy(np.zeros((4, 7, 5), np.float32)), "?tile=4000")
    assert (status, error) == (413, "Got tiles of 7 pixels, expected at most 6; set tile.")
    assert client.ask("POST", "/predict?tile=5&overlap=1", npy(np.zeros((4, 7, 5), np.float32)))[0] == 200


def test_uploads_together_are_bounded(serve):
    client = serve(Bicubic(2), upload_bytes=600)
    status, headers, body = client.ask("POST", "/predict", npy(LR))
    assert (status, headers["Retry-After"]) == (503, "10")
    assert b"Too many uploads" in body
    assert client.ask("POST", "/predict", npy(LR[:1, :2, :2]))[0] == 200


def test_connections_are_bounded(serve):
    client = serve(Bicubic(2), connections=2)
    with connected(client) as one, connected(client) as two:
        for connection in (one, two):
            connection.sendall(b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with connected(client) as three:
            answer = until_closed(three)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in answer
    wait_until(lambda: client.ask("GET", "/model")[0] == 200)


def test_a_client_that_does_not_take_its_answer_is_cut_off(serve, temporary):
    client = serve(Bicubic(4), stall_s=0.2)
    body = npy(np.zeros((16, 128, 128), np.float32))
    with connected(client) as connection:
        connection.sendall(
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        wait_until(lambda: list(temporary.iterdir()))
        wait_until(lambda: not list(temporary.iterdir()))
        with pytest.raises(ConnectionResetError):
            until_closed(connection)


@pytest.mark.parametrize("limits", [{"workers": 0}, {"queue": -1}, {"head_s": 0.0}, {"body_s": float("nan")}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ParamsError, match="must be at least"):
        Limits(**limits)


def test_no_file_of_a_request_outlives_it(bicubic, temporary):
    for body in (npy(LR), npy(LR)[:-1], b"CDF\x01", b"x"):
        bicubic.ask("POST", "/predict", body)
    wait_until(lambda: not list(temporary.iterdir()))


def test_what_is_in_flight_at_the_end_is_answered(serve):
    gate = Gate(2)
    client = serve(gate)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.predict(BLOCKING)))
    thread.start()
    assert gate.entered.acquire(timeout=DEADLINE_S)
    client.end()
    wait_until(lambda: is_refused(client))
    gate.opened.set()
    thread.join()
    assert answers[0][0].shape == (5, 12, 10)


def test_answers_count_as_the_space_that_they_take(serve):
    client = serve(Bicubic(2), upload_bytes=2000)
    assert client.ask("POST", "/predict", npy(LR[:1, :2, :2]))[0] == 200
    sent = npy(LR)  # 608 bytes, and 1920 of the answer
    status, _, body = client.ask("POST", "/predict", sent)
    assert (status, b"uploads and answers" in body) == (503, True)
    for _ in range(30):  # what was counted is given back
        assert client.ask("POST", "/predict", npy(LR[:1, :2, :2]))[0] == 200
