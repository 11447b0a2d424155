"""Run uvicorn on a bound socket: connection limits, start and graceful shutdown."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hsipipe.errors import HsipipeError
from hsipipe.serving.app import make_app
from hsipipe.serving.failures import RequestError, body_of, headers_of
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.limits import Limits
from hsipipe.serving.service import ModelServer

_HEAD_BYTES = 32 << 10
_BACKLOG = 2048
_IDLE_S = 30
"""Longest idle time in s of a connection; if it is short, a proxy may lose a request on a closing connection."""


class _Connection(H11Protocol):
    """Bound the number of connections, the time of a request's head and the time of a stalled answer.

    uvicorn has no setting for these. Its keep-alive timeout starts after the first answer and ends at the next byte,
    `limit_concurrency` counts a connection only when it sends a request, and an ASGI application cannot abort a
    transport whose peer does not read. Invalid HTTP gets an error in JSON, like any other error.
    """

    limits: Limits
    _head: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            message = f"{self.limits.connections} connections are open; try again later."
            self._refuse(RequestError(503, message, retry_s=5))
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.limits.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stall = _cancelled(self._stall)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._stall = _cancelled(self._head), _cancelled(self._stall)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(RequestError(400, f"{msg} Expected HTTP/1.1, for example from curl."))

    def _watch_head(self) -> None:
        """Run the timer only while a head is incomplete; an idle connection has uvicorn's keep-alive timeout."""
        idle = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not (idle and (self.cycle is None or self.conn.trailing_data[0])):
            self._head = _cancelled(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(self.limits.head_s, self._end_head)

    def _end_head(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(RequestError(408, f"No complete head of a request within {self.limits.head_s:g} s."))
        else:
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        """Send an error outside of any request, and close the connection."""
        body = body_of(str(error))
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers_of(error),
        }
        head = h11.Response(
            status_code=error.status, headers=list(headers.items()), reason=HTTPStatus(error.status).phrase
        )
        with suppress(h11.LocalProtocolError):  # an answer has begun
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer, and return None in its place."""
    if timer is not None:
        timer.cancel()
    return None


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket for the server; port 0 takes any free port.

    Raises:
        HsipipeError: The address is in use or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError) as error:
        raise HsipipeError(f"Cannot serve at {host}:{port} ({error}); choose another --host or --port.") from error
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Return True if only this machine reaches the socket."""
    host = str(bound.getsockname()[0])
    return host.startswith("127.") or host == "::1"


def make_server(server: ModelServer, *, hosts: Hosts, started: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Build the uvicorn server for a bound socket: ``make_server(server, hosts=hosts).run(sockets=[bound])``.

    Args:
        server: Implementation of the routes.
        hosts: Host names of the server.
        started: Called at startup.
    """
    config = uvicorn.Config(
        make_app(server, hosts=hosts, started=started),
        http=type("Connection", (_Connection,), {"limits": server.limits}),
        loop="asyncio",
        ws="none",
        lifespan="on",
        # Forwarded headers must not make a client local and open /model/refresh.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=max(1, round(server.limits.grace_s)),
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return uvicorn.Server(config)


def run(server: ModelServer, bound: socket.socket, *, hosts: Hosts, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in flight within the grace time.

    Args:
        server: Implementation of the routes.
        bound: Bound socket.
        hosts: Host names of the server.
        started: Called at startup.
    """

    def listening() -> None:
        bound.listen(_BACKLOG)  # uvicorn listens a moment later, after a client may have connected
        started()

    # uvicorn raises the signal again after its shutdown; the default handler would end the process with an error.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        make_server(server, hosts=hosts, started=listening).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
