"""Damaged bodies and requests to the process of the model server: an answer for each, bounded memory, no traceback."""

import http.client
import random
import re
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from bombs import BOMBS
from child import MOST_CPU_S, MOST_MB
from mutations import mutate
from seeds import SEEDS, files_of

from hsipipe.methods.bicubic import Bicubic
from hsipipe.storage.publish import publish

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers"), pytest.mark.timeout(600)]

BODIES = ("plain.npy", "classic.nc", "samples.tif", "pages.tif", "tiled.tif", "stack.tif")
BOMB_FILES = ("wide.tif", "rows.tif", "shared_tables.tif", "pages.tif", "kinds.tif", "many_pages.tif", "tile.tif")
_ANSWER_S = 60


class Server:
    """The process of a server and its children."""

    def __init__(self, process, port):
        self.process, self.port = psutil.Process(process.pid), port

    def post(self, body, media="", path="/predict"):
        """Send a body; return the status and the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)) as connection:
            connection.request("POST", path, body, {"Content-Type": media} if media else {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def raw(self, data):
        """Send bytes that may be no HTTP; return the answer, empty where the connection was closed without one."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_S)) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            parts = []
            try:
                while part := connection.recv(1 << 16):
                    parts.append(part)
            except ConnectionResetError:
                pass
            return b"".join(parts)

    def took(self):
        """Return the peak memory of the process in MB, and the CPU seconds of it and all its children."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak, cpu = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024, 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            cpu += times.user + times.system + times.children_user + times.children_system
        return peak, cpu


@contextmanager
def running(folder):
    """Run a server of bicubic interpolation as a process; fail if it logs a traceback."""
    with publish(folder / "model") as out:
        Bicubic(2).save(out)
    log = folder / "log"
    command = [sys.executable, "-m", "flows", "model-server", "--model", str(folder / "model"), "--port", "0"]
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        try:
            line = process.stdout.readline().decode()
            assert line.startswith("serving "), log.read_text()
            yield Server(process, int(line.strip().rsplit(":", 1)[1]))
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(30)
    assert "Traceback" not in log.read_text(errors="replace")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    """Small valid bodies by name."""
    folder, found = tmp_path_factory.mktemp("bodies"), {}
    for name in BODIES:
        (folder / name).mkdir()
        SEEDS[name](folder / name / name)
        found[name] = files_of(folder / name)[name]
    return found


@pytest.fixture(scope="module")
def process(tmp_path_factory, bodies):
    with running(tmp_path_factory.mktemp("server")) as found:
        for body in bodies.values():  # memory that each format takes once is no growth
            assert found.post(body)[0] in (200, 400)
        yield found


@pytest.fixture
def server(process, bodies):
    """The server, which predicts after each test, too."""
    yield process
    assert process.post(bodies["samples.tif"])[0] == 200


def request(body, rng):
    """A request whose head is damaged, too."""
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    return mutate({"head": head}, rng)["head"][: 1 << 16] + body


def test_every_damaged_request_is_answered(server, bodies, fuzz_seconds, keep_input):
    rng, until = random.Random(0), time.monotonic() + fuzz_seconds
    while time.monotonic() < until:
        name = rng.choice(BODIES)
        body = mutate({name: bodies[name]}, rng)[name]
        before = server.took()[1]
        if rng.random() < 0.3:
            answer = server.raw(request(body, rng))
            said = answer.startswith(b"HTTP/1.1 ") or not answer
        else:
            status, _ = server.post(body)
            said = status in (200, 400, 413, 415)
        memory, cpu = server.took()
        assert said, keep_input(name, {name: body}, "no answer")
        assert memory < MOST_MB, keep_input(name, {name: body}, f"{memory:.0f} MB")
        assert cpu - before < MOST_CPU_S, keep_input(name, {name: body}, f"{cpu - before:.1f} s of CPU time")


@pytest.mark.parametrize("name", BOMB_FILES)
def test_small_bodies_that_claim_much_are_refused(server, tmp_path, name):
    BOMBS[name](tmp_path / name)
    before = server.took()[1]
    status, answer = server.post((tmp_path / name).read_bytes())
    memory, cpu = server.took()
    assert status in (200, 400, 413), answer
    assert memory < MOST_MB
    assert cpu - before < MOST_CPU_S
