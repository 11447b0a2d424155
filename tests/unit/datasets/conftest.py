import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

import pytest

from hsipipe.datasets.transfer import Patience


class Server:
    """A web server on this machine, and how it misbehaves.

    `content`: path -> bytes; `moved`: path -> another address. `requests`: the paths asked for; `ranges`: the Range
    headers that came with them.
    """

    def __init__(self, url):
        self.url = url
        self.content = {}
        self.moved = {}
        self.requests = []
        self.ranges = []
        self.conditions = []
        self.cut = 0  # bytes that are missing at the end of each answer, though its header promises them
        self.cuts = []  # as `cut`, but for one answer after another
        self.errors = []  # statuses of the first answers
        self.stalls = False  # after half of the bytes nothing more comes until the test ends
        self.takes_ranges = True
        self.compresses = False  # whatever the client accepts
        self.etag = '"1"'
        self.stalled = threading.Event()
        self.released = threading.Event()

    def by_name(self, path):
        """The content of that path, or of any path with that file name."""
        names = {PurePosixPath(key).name: value for key, value in self.content.items()}
        return self.content.get(path, names.get(PurePosixPath(path).name) if path.startswith("/mirror/") else None)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        state = self.server.state
        state.requests.append(self.path)
        state.ranges.append(self.headers["Range"])
        state.conditions.append(self.headers["If-Range"])
        body = state.by_name(self.path)
        if state.errors:
            self._head(state.errors.pop(0), 0)
        elif self.path in state.moved:
            self._head(302, 0, Location=state.moved[self.path])
        elif body is None:
            self._head(404, 0)
        else:
            self._give(state, body)

    def _give(self, state, body):
        start = 0
        fresh = self.headers["If-Range"] in (None, state.etag)
        if self.headers["Range"] and state.takes_ranges and fresh:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self._head(416, 0)
            self._head(206, len(body) - start, **{"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})
        elif state.compresses:
            body = gzip.compress(body)
            self._head(200, len(body), **{"Content-Encoding": "gzip"})
        else:
            self._head(200, len(body))
        cut = state.cuts.pop(0) if state.cuts else state.cut
        rest = body[start : len(body) - cut]
        if state.stalls:
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            state.stalled.set()
            state.released.wait()
        else:
            self.wfile.write(rest)
        return None

    def _head(self, status, length, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if self.server.state.etag and status in (200, 206):
            self.send_header("ETag", self.server.state.etag)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HSIPIPE_CACHE", "HSIPIPE_MIRROR", "HSIPIPE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def http():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield http
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def server(http):
    http.state = Server(f"http://127.0.0.1:{http.server_port}")
    http.state.handler = Handler
    yield http.state
    http.state.released.set()


@pytest.fixture
def waits():
    """The seconds that a download would have waited between its attempts."""
    return []


@pytest.fixture
def patience(waits):
    """Gives up after three attempts, and waits for nobody."""
    return Patience(timeout_s=5, attempts=3, wait=waits.append)
