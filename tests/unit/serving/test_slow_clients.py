"""Bound clients that send or read byte by byte, and lose no answer to a reset."""

import contextlib
import json
import os
import socket
import time

import numpy as np
import pytest

from hsipipe.methods.bicubic import Bicubic
from hsipipe.serving.connection import _Sending
from hsipipe.serving.limits import Limits

from .conftest import DEADLINE_S, Source, connected, npy, running, until_closed, wait_until

pytestmark = pytest.mark.xdist_group("servers")

LR = np.random.default_rng(0).random((4, 6, 5), dtype=np.float32)
LARGE = np.zeros((16, 128, 128), np.float32)
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="lr"; filename="lr.npy"\r\n'
    b"Content-Type: application/x-npy\r\n\r\n\x93NUM"
)


@pytest.fixture(scope="module")
def hasty():
    """Client of a server with short times for heads and bodies."""
    with running(Source({"1": Bicubic(2)}), limits=Limits(head_s=0.3, body_s=0.3, grace_s=5.0)) as client:
        yield client


def post(body, *headers):
    lines = [b"POST /predict HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def trickle(client, begin, piece):
    """Send `piece` every 20 ms until the server answers; return the answer and the seconds."""
    with connected(client) as connection:
        connection.sendall(begin)
        begun = time.monotonic()
        connection.settimeout(0.02)
        answer = b""
        while not answer:
            assert time.monotonic() < begun + DEADLINE_S
            connection.sendall(piece)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
        seconds = time.monotonic() - begun
        connection.settimeout(DEADLINE_S)
        return answer + until_closed(connection), seconds


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Length: 1000000", b"x"),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        (b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000", b"x"),
    ],
)
def test_a_body_that_trickles_has_one_time_for_all(hasty, head, piece):
    begin = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n"
    answer, seconds = trickle(hasty, begin + (FORM if b"multipart" in head else b""), piece)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.3 s" in answer
    assert 0.25 < seconds < DEADLINE_S / 4


def test_a_head_that_trickles_has_one_time_for_all(hasty):
    answer, seconds = trickle(hasty, b"GET /model HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.25 < seconds < DEADLINE_S / 4


def read_slowly(client, *, block, pause_s):
    """Return the number of bytes of a large answer that arrive, read with pauses."""
    with connected(client) as connection:
        connection.sendall(post(npy(LARGE), b"Connection: close"))
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(block):
                got += len(part)
                time.sleep(pause_s)
        return got


def test_a_client_that_reads_byte_by_byte_is_cut_off(serve):
    client = serve(Bicubic(4), answer_s=0.3, answer_rate=1 << 30)
    begun = time.monotonic()
    assert read_slowly(client, block=1 << 14, pause_s=0.002) < LARGE.nbytes * 16
    assert time.monotonic() - begun < DEADLINE_S / 4


def test_a_client_that_reads_slowly_but_steadily_gets_its_answer(serve):
    client = serve(Bicubic(4), stall_s=0.5)
    assert read_slowly(client, block=1 << 18, pause_s=0.01) > LARGE.nbytes * 16


def test_a_client_that_asks_and_never_reads_is_cut_off(serve):
    client = serve(Bicubic(2), stall_s=0.2)
    with connected(client) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
    assert client.get("/model")[0] == 200


class Clock:
    """Event loop and transport of a fake answer."""

    def __init__(self):
        self.now, self.waiting, self.aborted, self.check = 0.0, 0, False, None

    def time(self):
        return self.now

    def get_write_buffer_size(self):
        return self.waiting

    def get_extra_info(self, name):
        return None

    def abort(self):
        self.aborted = True

    def call_later(self, delay, function):
        clock, due = self, self.now + delay

        class Timer:
            def cancel(self):
                clock.check = None

        self.check = (due, function)
        return Timer()

    def pass_by(self, seconds, *, rate):
        """Let the client take `rate` bytes per second."""
        end = self.now + seconds
        while self.check is not None and self.check[0] <= end and not self.aborted:
            due, function = self.check
            self.check = None
            self.waiting -= rate * (due - self.now)
            self.now = due
            function()
        self.waiting -= rate * (end - self.now)
        self.now = end


def sending(clock, **limits):
    return _Sending(clock, clock, Limits(stall_s=5.0, answer_s=10.0, answer_rate=100, **limits))


@pytest.mark.parametrize(
    ("rate", "seconds", "aborted"), [(60, 16, False), (40, 19, False), (40, 21, True), (0, 6, True)]
)
def test_an_answer_has_time_for_its_size(rate, seconds, aborted):
    clock = Clock()
    clock.waiting = 1000  # 10 s at the least rate, and 10 s more
    sending(clock).pause()
    clock.pass_by(seconds, rate=rate)
    assert clock.aborted is aborted


def test_the_blocks_of_an_answer_share_its_time_and_the_next_answer_has_its_own():
    clock = Clock()
    answer = sending(clock)
    for _ in range(2):
        clock.waiting = 100
        answer.pause()
        clock.pass_by(4.5, rate=20)
        answer.resume()
    assert not clock.aborted
    answer.answered()
    for _ in range(2):  # 3.5 s of the 10 s for each block
        clock.waiting = 100
        answer.pause()
        clock.pass_by(4.5, rate=20)
        assert not clock.aborted
        answer.resume()
    clock.waiting = 100
    answer.pause()
    clock.pass_by(4.5, rate=20)
    assert clock.aborted


def test_garbage_after_a_request_leaves_its_answer_whole(bicubic):
    for first in (b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n", post(npy(LR))):
        with connected(bicubic) as connection:
            connection.sendall(first + b"\x00\x01 garbage\r\n\r\n" + os.urandom(1000))
            answer = until_closed(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 ") == 2
        rest = answer[answer.rindex(b"HTTP/1.1 ") :]
        assert rest.startswith(b"HTTP/1.1 400 ")
        assert "Expected HTTP/1.1" in json.loads(rest.partition(b"\r\n\r\n")[2])["error"]


def test_requests_in_a_row_are_answered_in_their_order(bicubic):
    with connected(bicubic) as connection:
        connection.sendall(post(npy(LR)) + b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = until_closed(connection)
    assert answer.index(b"HTTP/1.1 200 ") < answer.index(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 4000001\r\n\r\n", 421),
        (b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000001\r\n\r\n", 404),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n", 413),
    ],
)
def test_a_client_that_sends_more_than_is_read_still_gets_its_answer(bicubic, begin, status):
    with connected(bicubic) as connection:
        connection.sendall(begin + bytes(4_000_000))
        time.sleep(0.05)
        connection.sendall(b"x")  # a reset by the server would be here
        assert until_closed(connection).startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_never_closes_is_closed(serve, monkeypatch):
    monkeypatch.setattr("hsipipe.serving.connection._LINGER_S", 0.1)
    client = serve(Bicubic(2), connections=1)
    with connected(client) as connection:
        connection.sendall(b"GET /model HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert until_closed(connection).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: client.ask("GET", "/model")[0] == 200)
