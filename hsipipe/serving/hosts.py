"""Check the Host and the Origin of requests, so that no web page in a local browser uses the server.

A page reaches a server on 127.0.0.1 in two ways. It sends requests there directly: the browser then adds an Origin or
a Sec-Fetch-Site. Or the name of its site resolves to 127.0.0.1 (DNS rebinding): the browser then takes the server for
the site, and only the Host tells the difference.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from hsipipe.errors import ParamsError
from hsipipe.serving.failures import RequestError

Headers = Sequence[tuple[bytes, bytes]]

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s]+)(?::(\d{0,5}))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_PORTS = {"http": "80", "https": "443"}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_OTHER_SITES = ("cross-site", "same-site")
_LONGEST = 100


class Hosts:
    """Host names of a server.

    Args:
        local: The server listens on a loopback address: no other names than those of `allowed` and loopback.
        allowed: Further names, without port. If the server is not local, no name allows every Host.

    Raises:
        ParamsError: A name has a scheme, a port or a path.
    """

    def __init__(self, *, local: bool, allowed: Iterable[str] = ()) -> None:
        self._allowed = tuple(name.lower() for name in allowed)
        for name in self._allowed:
            if (found := _AUTHORITY.fullmatch(name)) is None or found[2] is not None:
                raise ParamsError(
                    f"Got the allowed host {name!r}, expected a name as models.example.org, without scheme, port and "
                    "path."
                )
        self._allows_any = not (local or self._allowed)

    def refusal(self, headers: Headers) -> RequestError | None:
        """Return the refusal of a request by its Host or its Origin, or None.

        Args:
            headers: Headers of the request, with names in lower case.
        """
        host = next(iter(_values(headers, b"host")), None)
        if not (self._allows_any or self._allows(host)):
            names = ", ".join((*_LOOPBACK, *self._allowed))
            got = "no Host" if host is None else f"the Host {host[:_LONGEST]!r}"
            message = f"Got {got}, expected {names}; use such an address, or start the server with --allowed-host."
            return RequestError(421, message, reason="host")
        for origin in _values(headers, b"origin"):
            if not _is_origin_of(origin, host):
                return _foreign(f"the Origin {origin[:_LONGEST]!r}")
        # A browser sends no Origin with the GET of an image, a script or a link.
        for site in _values(headers, b"sec-fetch-site"):
            if site in _OTHER_SITES:
                return _foreign(f"Sec-Fetch-Site {site!r}")
        return None

    def _allows(self, host: str | None) -> bool:
        found = _AUTHORITY.fullmatch(host or "")
        return found is not None and (found[1] in self._allowed or _is_loopback(found[1]))


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for key, value in headers if key == name]


def _foreign(got: str) -> RequestError:
    message = f"Got {got}, a request of the web page of another site, expected none; use a program such as curl."
    return RequestError(403, message, reason="origin")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_origin_of(origin: str, host: str | None) -> bool:
    """Return True if an Origin names the server itself; a proxy may add TLS, so the scheme does not matter."""
    found = _ORIGIN.fullmatch(origin)
    if found is None or host is None:
        return False
    given, own = (_AUTHORITY.fullmatch(text) for text in (found[2], host))
    port = _PORTS[found[1]]
    return given is not None and own is not None and (given[1], given[2] or port) == (own[1], own[2] or port)
