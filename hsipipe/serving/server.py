"""The process: a socket, the application behind it, and a good end."""

import signal
import socket
from collections.abc import Callable

import uvicorn

from hsipipe.errors import HsipipeError
from hsipipe.serving.app import make_app
from hsipipe.serving.connection import connection_type
from hsipipe.serving.service import ModelServer

_HEAD_BYTES = 32 << 10
_BACKLOG = 2048
_IDLE_S = 30
"""Between two requests on a connection; proxies keep theirs open, and lose a request that meets a closing one."""


def bind(host: str, port: int) -> socket.socket:
    """A socket for the server; port 0: any free one.

    Raises:
        HsipipeError: The address is not of this machine, or taken.
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
    """Where a socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    host = str(bound.getsockname()[0])
    return host.startswith("127.") or host == "::1"


def make_server(server: ModelServer, *, started: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """What serves a bound socket: ``make_server(server).run(sockets=[bound])``.

    Args:
        server: What is served.
        started: Called when it begins to serve.
    """
    config = uvicorn.Config(
        make_app(server, started=started),
        http=connection_type(server.limits),
        loop="asyncio",
        ws="none",
        lifespan="on",
        # A proxy's word on who the client is must not open /model/refresh.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=max(1, round(server.limits.grace_s)),
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return uvicorn.Server(config)


def run(server: ModelServer, bound: socket.socket, *, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT: then nothing new is taken, and what is in flight is ended in time.

    Args:
        server: What is served.
        bound: Where.
        started: Called when it begins to serve.
    """

    def listening() -> None:
        bound.listen(_BACKLOG)  # uvicorn does so a moment later, when somebody may have come already
        started()

    # uvicorn raises the signal again when it is done; by then the process has ended well.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        make_server(server, started=listening).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
