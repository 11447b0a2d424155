"""Check the Host and the Origin of requests, so that no web page in a local browser uses the server.

A page reaches a server on 127.0.0.1 in two ways. It sends requests there directly: the browser then adds an Origin or
a Sec-Fetch-Site. Or the name of its site resolves to 127.0.0.1 (DNS rebinding): the browser then takes the server for
the site, and only the Host tells the difference.
"""

import ipaddress
import re
import socket
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
        allowed: Further names, without port. Without any, a server that is not local also takes every IP address, which
            DNS rebinding cannot use, and the host name of this machine.

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
        self._takes_addresses = not (local or self._allowed)
        if self._takes_addresses:
            own = socket.gethostname().lower()  # without DNS, which may take long
            self._allowed = (own, own.partition(".")[0]) if "." in own else (own,)

    def refusal(self, headers: Headers) -> RequestError | None:
        """Return the refusal of a request by its Host or its Origin, or None.

        Args:
            headers: Headers of the request, with names in lower case.
        """
        host = next(iter(_values(headers, b"host")), None)
        if not self._allows(host):
            names = ", ".join((*_LOOPBACK, *self._allowed, *(["an IP address"] if self._takes_addresses else [])))
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
        if found is None:
            return False
        address = _address(found[1])
        is_own = found[1] == "localhost" or (address is not None and (self._takes_addresses or address.is_loopback))
        return is_own or found[1] in self._allowed


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for key, value in headers if key == name]


def _foreign(got: str) -> RequestError:
    message = f"Got {got}, a request of the web page of another site, expected none; use a program such as curl."
    return RequestError(403, message, reason="origin")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_origin_of(origin: str, host: str | None) -> bool:
    """Return True if an Origin names the server itself; a proxy may add TLS, so the scheme does not matter."""
    found = _ORIGIN.fullmatch(origin)
    if found is None or host is None:
        return False
    given, own = (_AUTHORITY.fullmatch(text) for text in (found[2], host))
    port = _PORTS[found[1]]
    return given is not None and own is not None and (given[1], given[2] or port) == (own[1], own[2] or port)
