"""Reach the servers of this machine without a proxy."""

import os
from collections.abc import MutableMapping

_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_LOCAL = ("localhost", "127.0.0.1", "::1")


def spare_local_servers(environment: MutableMapping[str, str] = os.environ) -> None:
    """Exclude this machine from the proxy of the environment; call it before the first connection.

    Prefect's server, and often MLflow's, listen on 127.0.0.1, where no proxy of a network finds them.
    """
    if not any(value for name, value in environment.items() if name.lower() in _PROXIES):
        return
    # Libraries read the one or the other, and most prefer the lower case.
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in _LOCAL if host not in hosts]
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(hosts)
