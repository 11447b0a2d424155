import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_scene():
    """Writes a scene of the CAVE layout and gives the values that a reader should find."""

    def write(folder, *, name=None, nested=False, size=(8, 12), eight_bit=False, seed=0):
        name = name or folder.name.removesuffix("_ms")
        place = folder / folder.name if nested else folder
        place.mkdir(parents=True)
        full = 255 if eight_bit else 65535
        values = np.random.default_rng(seed).integers(0, full + 1, size=(31, *size))
        for band, pixels in enumerate(values, start=1):
            if eight_bit:
                rgba = np.stack([pixels, pixels // 2, pixels // 3, np.full_like(pixels, 255)], axis=-1)
                image = Image.fromarray(rgba.astype(np.uint8), "RGBA")
            else:
                image = Image.fromarray(pixels.astype(np.uint16))
            image.save(place / f"{name}_ms_{band:02d}.png")
        return (values / full).astype(np.float32)

    return write


class Server:
    """A web server on this machine: path -> content; counts requests and can cut an answer short."""

    def __init__(self, url):
        self.url = url
        self.content = {}
        self.requests = []
        self.cut = 0


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests.append(self.path)
            body = state.content.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if body:
                self.wfile.write(body[: len(body) - state.cut])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            http.shutdown()
            thread.join()
