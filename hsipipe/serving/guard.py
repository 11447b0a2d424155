"""ASGI middleware around the application: count requests, check their heads, bound size and time of their bodies."""

import asyncio
import re
import threading
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hsipipe.serving.failures import RequestError, body_of, headers_of, shutting_down
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.limits import LARGER, Limits
from hsipipe.serving.model import Loaded

ROUTES = frozenset({"/", "/docs", "/predict", "/health", "/model", "/model/refresh", "/metrics", "/openapi.json"})
"""Paths counted by name; any other path counts as "other", so that labels stay few."""
SPACE = "hsipipe.space"
"""Key of the request's :class:`Space` in the ASGI scope."""
MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_GONE = "499"
"""Status of a request whose client disconnected before its answer; nginx uses the same."""


class Metrics:
    """Prometheus metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("hsipipe_requests", "Completed requests.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "hsipipe_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("hsipipe_requests_in_flight", "Requests in progress.", registry=registry)
        self.waiting = Gauge("hsipipe_predictions_pending", "Predictions running or queued.", registry=registry)
        self.refused = Counter("hsipipe_refused", "Requests refused by a limit.", ["reason"], registry=registry)
        self.switches = Counter("hsipipe_model_switches", "Models put in service.", registry=registry)
        labels = ["name", "version", "sha256"]
        self._model = Gauge("hsipipe_model_info", "Model in service.", labels, registry=registry)

    def model_switched(self, loaded: Loaded) -> None:
        """Record the model in service, and drop the one before."""
        self._model.clear()
        self._model.labels(loaded.pinned.name, loaded.pinned.version, loaded.pinned.sha256).set(1)
        self.switches.inc()

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class Disk:
    """Disk space of all uploads together."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._lock = most, 0, threading.Lock()

    def take(self, size: int) -> None:
        """Take `size` bytes.

        Raises:
            RequestError: Less than `size` bytes are free.
        """
        with self._lock:
            if self._taken + size > self._most:
                raise RequestError(
                    503, "Too many uploads and answers at once; try again later.", reason="uploads", retry_s=10
                )
            self._taken += size

    def give_back(self, size: int) -> None:
        """Give `size` bytes back."""
        with self._lock:
            self._taken -= size


class Space:
    """Disk space of one request: of its body and of its answer."""

    def __init__(self, disk: Disk) -> None:
        self._disk, self._taken, self._lock = disk, 0, threading.Lock()

    def take(self, size: int) -> None:
        """Take `size` bytes more; errors as in :meth:`Disk.take`."""
        self._disk.take(size)
        self._taken += size

    def give_back(self) -> None:
        """Give all bytes back; a second call does nothing."""
        with self._lock:
            taken, self._taken = self._taken, 0
        self._disk.give_back(taken)


class Guard:
    """Middleware that counts and bounds requests.

    Args:
        app: Guarded application.
        hosts: Host names of the server.
        limits: Limits of the server.
        metrics: Updated for each request.
    """

    def __init__(self, app: ASGIApp, *, hosts: Hosts, limits: Limits, metrics: Metrics) -> None:
        self._app, self._hosts, self._limits, self._metrics = app, hosts, limits, metrics
        self._disk = Disk(limits.upload_bytes)
        self._ends = False

    def end(self) -> None:
        """Refuse new requests from now on, and close each connection after its answer."""
        self._ends = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        space = Space(self._disk)
        request = _Request(scope, receive, send, limits=self._limits, space=space, is_last=lambda: self._ends)
        scope[SPACE] = request.space
        begun = time.monotonic()
        self._metrics.in_flight.inc()
        try:
            if (error := self._refusal(scope) or request.refusal()) is not None:
                await self._refuse(request, error)
            else:
                await self._app(scope, request.receive, request.send)
        except asyncio.CancelledError:
            if not self._ends or request.has_begun:
                raise
            await self._refuse(request, shutting_down())  # the grace time is over
        finally:
            # A request refused by its head is not routed.
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(route, request.status).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - begun)

    def _refusal(self, scope: Scope) -> RequestError | None:
        return self._hosts.refusal(scope["headers"]) or (shutting_down() if self._ends else None)

    async def _refuse(self, request: "_Request", error: RequestError) -> None:
        self._metrics.refused.labels(error.reason).inc()
        await request.answer(error)


class _Request:
    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        limits: Limits,
        space: Space,
        is_last: Callable[[], bool],
    ) -> None:
        self._receive, self._send, self._limits, self._is_last = receive, send, limits, is_last
        self.space, self.status = space, _GONE
        headers = dict(scope["headers"])
        self._length = headers.get(b"content-length")
        self._whole = self._length in (None, b"0") and b"transfer-encoding" not in headers
        self._got = 0
        self._until: float | None = None

    def refusal(self) -> RequestError | None:
        """Return the refusal by the headers alone, or None."""
        if self._length is None or not re.fullmatch(rb"\d{1,18}", self._length):
            return None
        return self._too_large() if int(self._length) > self._limits.body_bytes else None

    async def receive(self) -> Message:
        """Return the next message; count its bytes and bound its time."""
        if self._whole:
            return await self._receive()
        message = await self._in_time()
        self._got += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._whole = True
        if self._got > self._limits.body_bytes:
            raise self._too_large()
        self.space.take(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """Send a message; close the connection at the shutdown, or where the body was not read to its end."""
        if message["type"] == "http.response.start":
            self.status = str(message["status"])
            more = [(b"x-content-type-options", b"nosniff")]  # a browser shows no upload as a page
            if self._is_last() or not self._whole:
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await self._send(message)

    @property
    def has_begun(self) -> bool:
        """True from the head of the answer on."""
        return self.status != _GONE

    async def answer(self, error: RequestError) -> None:
        """Send an error."""
        body = body_of(str(error))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers_of(error)}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    async def _in_time(self) -> Message:
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + self._limits.body_s
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError as error:
            seconds = self._limits.body_s
            raise RequestError(408, f"The body did not arrive within {seconds:g} s.", reason="slow") from error

    def _too_large(self) -> RequestError:
        got = f"{int(self._length)} bytes" if self._length is not None else f"at least {self._got} bytes"
        return RequestError(
            413, f"Got a body of {got}, expected at most {self._limits.body_bytes}; {LARGER}.", reason="body"
        )
