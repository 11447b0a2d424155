"""An HTTP server of a folder that sends ranges of bytes, counts them, and can misbehave."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class FileServer:
    """The files of a folder at `address`.

    Attributes:
        requests: Number of requests.
        asked: Path and number of bytes of each answer with data.
        fault: What it does wrong: "" (nothing), "no-ranges", "no-length" (no ranges either), "endless",
            "other-range", "gzip", "denied".
        busy: Number of requests that it answers by 503 next.
        version: Its ETag.
    """

    def __init__(self, folder):
        self.folder, self.asked, self.fault, self.busy, self.version = folder, [], "", 0, "1"
        self.address, self.requests = "", 0

    @property
    def sent(self):
        return sum(size for _, size in self.asked)

    def answer(self, request):
        self.requests += 1
        path = self.folder / unquote(urlsplit(request.path).path).lstrip("/")
        if self.busy:
            self.busy -= 1
            return _head(request, 503)
        if self.fault == "denied":
            return _head(request, 403)
        if not path.is_file():
            return _head(request, 404)
        self._send(request, path)

    def _send(self, request, path):
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2])) if asked else (0, len(data) - 1)
        if first >= len(data):
            return _head(request, 416, {"Content-Range": f"bytes */{len(data)}"})
        whole = self.fault in ("no-ranges", "no-length")
        part = data if whole else data[first : last + 1]
        first += self.fault == "other-range"
        headers = {"ETag": f'"{self.version}"', "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}
        if self.fault == "gzip":
            headers["Content-Encoding"] = "gzip"
        if whole:
            del headers["Content-Range"]
        self.asked.append((urlsplit(request.path).path, len(part)))
        if self.fault == "endless":  # says nothing of its length, and sends more than it was asked for
            _head(request, 206, {**headers, "Connection": "close"}, length=None)
            part = part + bytes(64 << 20)
        else:
            _head(request, 200 if whole else 206, headers, length=None if self.fault == "no-length" else len(part))
        try:
            request.wfile.write(part)
        except OSError:
            pass  # the client had enough


def _head(request, status, headers=None, *, length=0):
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    if length is not None:
        request.send_header("Content-Length", str(length))
    else:
        request.close_connection = True
    request.end_headers()


@contextmanager
def serving(folder):
    """Serve a folder on a free port of this machine."""
    files = FileServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            files.answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    files.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
