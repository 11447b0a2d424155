"""Serve a model from the registry or a folder over HTTP."""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import dask

from hsipipe.commands.early import REGISTRY
from hsipipe.errors import ParamsError
from hsipipe.formats.provenance import date_of_results
from hsipipe.methods.catalogue import load_model, saved_name
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.model_registry.load import PinnedModel, load_pinned, resolve_registered
from hsipipe.model_registry.store import store_root
from hsipipe.serving.hosts import Hosts
from hsipipe.serving.limits import Limits
from hsipipe.serving.model import ModelSource, Pinned, describe
from hsipipe.serving.server import bind, is_loopback, run, url_of
from hsipipe.serving.service import ModelServer
from hsipipe.storage.manifest import digest

TOKEN = "HSIPIPE_SERVER_TOKEN"
_SHORT = 12


class RegistrySource:
    """Model source: a registry URI, which may contain an alias."""

    def __init__(self, root: Path, uri: str, *, device: str) -> None:
        self._root, self._uri, self._device = root, uri, device

    def resolve(self) -> Pinned:
        """Resolve the URI to its present version."""
        found = resolve_registered(self._root, self._uri)
        return Pinned(found.name, found.version, found.uri, found.sha256)

    def load(self, pinned: Pinned) -> SuperResolver:
        """Load and verify the model."""
        version = PinnedModel(pinned.name, pinned.version, pinned.sha256)
        return load_pinned(self._root, version, device=self._device)


class FolderSource:
    """Model source: a folder; its version is the start of its digest."""

    def __init__(self, folder: Path, *, device: str) -> None:
        self._folder, self._device = folder, device

    def resolve(self) -> Pinned:
        """Read name and digest of the folder's present model."""
        name, sha256 = saved_name(self._folder), digest(self._folder)
        return Pinned(name, sha256[:_SHORT], str(self._folder), sha256)

    def load(self, pinned: Pinned) -> SuperResolver:
        """Load and verify the model."""
        return load_model(self._folder, device=self._device, sha256=pinned.sha256)


def serve_model(
    model: str,
    *,
    host: str,
    port: int,
    limits: Limits,
    allowed_hosts: Sequence[str] = (),
    device: str = "cpu",
    follow_s: float | None = None,
) -> None:
    """Serve until the process is stopped.

    Args:
        model: Folder or registry URI.
        host: Address to bind to.
        port: Port; 0: any free port.
        limits: Limits of the server.
        allowed_hosts: Host names that requests may use, see :class:`Hosts`.
        device: Torch device of the model.
        follow_s: Seconds between checks for a new version.

    Raises:
        HsipipeError: The model is missing or does not predict, the address is in use, or a host name is invalid.
        ParamsError: A variable of the environment is invalid.
    """
    token = os.environ.get(TOKEN)
    if token is not None and not token.strip():
        raise ParamsError(f"{TOKEN} is empty; set it to a secret, or unset it.")
    date_of_results()  # a wrong SOURCE_DATE_EPOCH would fail every prediction
    # In place of the lines of the command line: those of a server have a time and a level.
    logging.getLogger("hsipipe").handlers.clear()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # A request has one worker; Dask's threads would take the cores of other requests.
    dask.config.set(scheduler="synchronous")
    with _early_hangups() as hangups, bind(host, port) as bound:  # an address in use fails before the model is loaded
        hosts = Hosts(local=is_loopback(bound), allowed=allowed_hosts)
        if not is_loopback(bound):
            print(
                f"warning: {url_of(bound)} is open to other machines, without TLS: whoever can listen sees cubes and "
                f"{TOKEN}; put a proxy with TLS before it.",
                file=sys.stderr,
            )
        server = ModelServer(_source(model, device), limits=limits, token=token, follow_s=follow_s)
        ready = f"serving {describe(server.model.current.pinned)} at {url_of(bound)}"

        def started() -> None:
            print(ready, flush=True)
            if hangups:
                server.model.refresh()

        run(server, bound, hosts=hosts, started=started)
    if server.model.is_hanging:
        _exit()


@contextmanager
def _early_hangups() -> Iterator[list[int]]:
    """Collect each SIGHUP until the server handles them; by default it ends the process."""
    found: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: found.append(number))
    try:
        yield found
    finally:
        signal.signal(signal.SIGHUP, before)


def _exit() -> NoReturn:
    """End the process without its other threads: MLflow downloads in threads that Python would wait for."""
    logging.warning("the switch of the model does not end; it is given up")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _source(model: str, device: str) -> ModelSource:
    if model.startswith(REGISTRY):
        return RegistrySource(store_root(), model, device=device)
    return FolderSource(Path(model), device=device)
