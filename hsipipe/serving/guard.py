"""The outermost layer of the application: counts requests, and bounds what each of them sends."""

import asyncio
import re
import threading
import time
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hsipipe.serving.failures import RequestError, body_of, headers_of
from hsipipe.serving.limits import Limits
from hsipipe.serving.metrics import Metrics

ROUTES = frozenset({"/predict", "/health", "/model", "/model/refresh", "/metrics", "/openapi.json"})
"""Paths that are counted by their name; clients may invent any number of others."""
SPACE = "hsipipe.space"
"""Key of a request's :class:`Space` in its scope."""
_DRAIN_S = 2.0
_SILENCE_S = 0.2
_DRAIN_BYTES = 64 << 20
_GONE = "499"
"""Status of a request whose client left before its answer, as nginx counts it."""


class Disk:
    """How much all uploads together may take."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._lock = most, 0, threading.Lock()

    def take(self, size: int) -> None:
        """Take room.

        Raises:
            RequestError: There is not so much left.
        """
        with self._lock:
            if self._taken + size > self._most:
                raise RequestError(503, "Too many uploads at once; try again later.", reason="uploads", retry_s=10)
            self._taken += size

    def give_back(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self._taken -= size


class Space:
    """What the body of one request has taken of the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk, self._taken, self._lock = disk, 0, threading.Lock()

    def take(self, size: int) -> None:
        """Take room for `size` bytes more; errors as in :meth:`Disk.take`."""
        self._disk.take(size)
        self._taken += size

    def give_back(self) -> None:
        """Give all of it back; a second time does nothing."""
        with self._lock:
            taken, self._taken = self._taken, 0
        self._disk.give_back(taken)


class Guard:
    """The layer.

    Args:
        app: What it guards.
        limits: How much and how long.
        metrics: What is counted.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._disk = Disk(limits.upload_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send, limits=self._limits, space=Space(self._disk))
        scope[SPACE] = request.space
        begun = time.monotonic()
        self._metrics.in_flight.inc()
        try:
            if (error := request.refusal()) is not None:
                self._metrics.refused.labels(error.reason).inc()
                await request.answer(error)
            else:
                await self._app(scope, request.receive, request.send)
        finally:
            # A request that is refused by its head is not routed.
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(route, request.status).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - begun)


class _Request:
    def __init__(self, scope: Scope, receive: Receive, send: Send, *, limits: Limits, space: Space) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self.space, self.status = space, _GONE
        headers = dict(scope["headers"])
        self._length = headers.get(b"content-length")
        self._awaits_100 = headers.get(b"expect", b"").lower() == b"100-continue"
        self._whole = self._length in (None, b"0") and b"transfer-encoding" not in headers
        self._got = 0
        self._until: float | None = None

    def refusal(self) -> RequestError | None:
        """Why it is refused by its headers alone, or None."""
        if self._length is None or not re.fullmatch(rb"\d{1,18}", self._length):
            return None
        return self._too_large() if int(self._length) > self._limits.body_bytes else None

    async def receive(self) -> Message:
        """The next message, counted, in time."""
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
        """Pass an answer on; a connection whose request was not read to its end can't be used again."""
        if message["type"] == "http.response.start":
            self.status = str(message["status"])
            if not self._whole:
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
                await self._drain()
        await self._send(message)

    async def answer(self, error: RequestError) -> None:
        """Answer with an error."""
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

    async def _drain(self) -> None:
        """Read on for a moment: a connection that is closed on unread bytes takes the answer with it."""
        left = 0 if self._awaits_100 else _DRAIN_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while left > 0 and not self._whole:
                    async with asyncio.timeout(_SILENCE_S):
                        message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._whole = message["type"] == "http.disconnect" or not message.get("more_body", False)

    def _too_large(self) -> RequestError:
        got = f"{int(self._length)} bytes" if self._length is not None else f"at least {self._got} bytes"
        return RequestError(
            413, f"Got a body of {got}, expected at most {self._limits.body_bytes}; cut the cube.", reason="body"
        )
