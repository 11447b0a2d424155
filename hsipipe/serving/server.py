"""Run uvicorn on a bound socket: start and graceful shutdown."""

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from hsipipe.errors import HsipipeError
from hsipipe.serving.app import make_app
from hsipipe.serving.connection import Connection
from hsipipe.serving.guard import Guard
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.service import ModelServer

_HEAD_BYTES = 32 << 10
_BACKLOG = 2048
_IDLE_S = 30
"""Longest idle time in s of a connection; if it is short, a proxy may lose a request on a closing connection."""
_STEPS = 3
"""Steps of the event loop from the accept of a connection to its protocol."""
_ERRORS_S = 1.0
"""Longest time in s for the errors that are sent when the grace time is over."""


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
    guard = make_app(server, hosts=hosts, started=started)
    config = uvicorn.Config(
        guard,
        http=type("Connection", (Connection,), {"limits": server.limits}),
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
    return _Server(config, guard)


class _Server(uvicorn.Server):
    """uvicorn that gives every request an answer at its shutdown.

    uvicorn closes its socket on waiting connections and idle connections on arriving requests, which resets both.
    """

    def __init__(self, config: uvicorn.Config, guard: Guard) -> None:
        super().__init__(config)
        self._guard = guard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.end()
        await self._stop_listening(sockets or [])
        await super().shutdown(sockets)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ERRORS_S):
                while self.server_state.tasks or self.server_state.connections:
                    await asyncio.sleep(0.01)

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for bound in sockets:
            loop.remove_reader(bound)
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        waiting = [connection for bound in sockets for connection in _accept_all(bound)]
        for server in self.servers:
            server.close()
        for connection in waiting:
            with suppress(OSError):
                await loop.connect_accepted_socket(self._make_connection, connection)

    def _make_connection(self) -> Connection:
        make = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore


def _accept_all(bound: socket.socket) -> list[socket.socket]:
    accepted = []
    with suppress(OSError):  # none is waiting, or no file descriptor is free
        while True:
            accepted.append(bound.accept()[0])
            accepted[-1].setblocking(False)
    return accepted


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
