"""End the server: every request that arrived gets an answer, and no connection a reset."""

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest

from hsipipe.methods.bicubic import Bicubic

from .conftest import DEADLINE_S, Gate, connected, is_refused, npy, until_closed, wait_until

pytestmark = pytest.mark.xdist_group("servers")

BLOCKING = np.random.default_rng(0).random((5, 6, 5), dtype=np.float32)
GET = b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"


def asked(connection):
    """Send a request, and read its answer."""
    connection.sendall(GET)
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)
    return answer


def test_a_request_on_an_open_connection_is_answered_with_503(serve):
    client = serve(Bicubic(2))
    with connected(client) as connection:
        assert asked(connection).startswith(b"HTTP/1.1 200 ")
        client.end()
        wait_until(lambda: is_refused(client))
        connection.sendall(GET)
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "The server is shutting down; try again later."


@pytest.mark.parametrize(("begin", "answer"), [(b"", b""), (GET[:20], b"HTTP/1.1 503 ")])
def test_an_idle_connection_is_closed_without_a_reset(serve, begin, answer):
    client = serve(Bicubic(2))
    with connected(client) as connection:
        assert asked(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(begin)
        client.end()
        assert until_closed(connection).startswith(answer)
        connection.sendall(GET)
        assert connection.recv(65536) == b""


def test_an_upload_in_progress_is_predicted(serve):
    client = serve(Bicubic(2))
    body = npy(BLOCKING)
    with connected(client) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:100])
        wait_until(lambda: "in_flight 2.0" in client.ask("GET", "/metrics")[2].decode())
        client.end()
        wait_until(lambda: is_refused(client))
        connection.sendall(body[100:])
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()


def test_a_request_after_an_answer_that_began_before_the_end_is_answered(serve):
    client = serve(Bicubic(4))
    body = npy(np.zeros((16, 128, 128), np.float32))
    with connected(client) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = connection.recv(1000)
        assert b"connection: close" not in answer.lower()
        client.end()
        wait_until(lambda: is_refused(client))
        connection.sendall(GET)
        answer += until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer[16 * 512 * 512 * 4 :].count(b"HTTP/1.1 503 ") == 1


def test_predictions_that_outlast_the_grace_time_end_with_503(serve):
    gate = Gate(2)
    client = serve(gate, grace_s=1.0, queue=1)
    answers = []

    def ask():
        answers.append(client.ask("POST", "/predict", npy(BLOCKING)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert gate.entered.acquire(timeout=DEADLINE_S)
    wait_until(lambda: "pending 2.0" in client.ask("GET", "/metrics")[2].decode())
    client.end()
    for thread in threads:
        thread.join(DEADLINE_S)
    gate.opened.set()
    assert [status for status, _, _ in answers] == [503, 503]
    assert all("shutting down" in json.loads(body)["error"] for _, _, body in answers)


def test_connections_that_wait_to_be_accepted_are_answered(serve):
    client = serve(Bicubic(2))
    loop = client.loop()
    entered, leave = threading.Event(), threading.Event()

    def block():
        entered.set()
        leave.wait(DEADLINE_S)

    loop.call_soon_threadsafe(block)
    assert entered.wait(DEADLINE_S)
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(client)) for _ in range(20)]
        for connection in connections[:15]:
            connection.sendall(GET)
        client.end()
        time.sleep(0.2)  # the main loop of uvicorn is due at once
        leave.set()
        for number, connection in enumerate(connections):
            answer = until_closed(connection)
            assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 ") if number < 15 else b"")


def test_connections_in_the_last_moment_are_answered(serve, monkeypatch):
    client = serve(Bicubic(2))
    made = []

    async def sleep(seconds):
        """Connect at the last step before the socket is closed."""
        if seconds == 0 and len(made) < 3:
            made.append(socket.create_connection(("127.0.0.1", client.port), timeout=DEADLINE_S))
            made[-1].sendall(GET)
        await real(seconds)

    real = asyncio.sleep
    monkeypatch.setattr("hsipipe.serving.server.asyncio.sleep", sleep)
    client.end()
    wait_until(lambda: len(made) == 3)
    for connection in made:
        with connection:
            assert until_closed(connection).startswith(b"HTTP/1.1 503 ")
