"""A model of the registry, or of a folder, behind HTTP."""

import logging
import os
import sys
from pathlib import Path

import dask

from hsipipe.errors import ParamsError
from hsipipe.methods.catalogue import load_model, saved_name
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.serving.limits import Limits
from hsipipe.serving.model import ModelSource, Pinned, describe
from hsipipe.serving.server import bind, is_loopback, run, url_of
from hsipipe.serving.service import ModelServer
from hsipipe.storage.manifest import digest
from tasks.running.project import find_root
from tasks.tracking import PinnedModel, load_pinned, resolve_registered

TOKEN = "HSIPIPE_SERVER_TOKEN"
_SHORT = 12


class RegistrySource:
    """Models of the registry, by an URI that may name an alias."""

    def __init__(self, root: Path, uri: str, *, device: str) -> None:
        self._root, self._uri, self._device = root, uri, device

    def resolve(self) -> Pinned:
        """The version that the URI means now."""
        found = resolve_registered(self._root, self._uri)
        return Pinned(found.name, found.version, found.uri, found.sha256)

    def load(self, pinned: Pinned) -> SuperResolver:
        """Load it, verified."""
        version = PinnedModel(pinned.name, pinned.version, pinned.sha256)
        return load_pinned(self._root, version, device=self._device)


class FolderSource:
    """The model in a folder; its version is the beginning of its digest."""

    def __init__(self, folder: Path, *, device: str) -> None:
        self._folder, self._device = folder, device

    def resolve(self) -> Pinned:
        """What lies there now."""
        name, sha256 = saved_name(self._folder), digest(self._folder)
        return Pinned(name, sha256[:_SHORT], str(self._folder), sha256)

    def load(self, pinned: Pinned) -> SuperResolver:
        """Load it, verified."""
        return load_model(self._folder, device=self._device, sha256=pinned.sha256)


def serve_model(
    model: str, *, host: str, port: int, limits: Limits, device: str = "cpu", follow_s: float | None = None
) -> None:
    """Serve until the process is told to end.

    Args:
        model: Folder, or an URI of the registry.
        host: Address to bind to.
        port: 0: any free one.
        limits: Of the server.
        device: Where the model runs, in torch's terms.
        follow_s: Seconds between two looks for another version.

    Raises:
        HsipipeError: There is no such model, it does not predict, or the address is taken.
    """
    token = os.environ.get(TOKEN)
    if token is not None and not token.strip():
        raise ParamsError(f"{TOKEN} is empty; set it to a secret, or unset it.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # A request has one worker; the threads of Dask would be others' cores.
    dask.config.set(scheduler="synchronous")
    with bind(host, port) as bound:  # an address that is taken should not cost the loading
        if not is_loopback(bound):
            print(
                f"warning: {url_of(bound)} is open to other machines, without TLS: whoever can listen sees cubes and "
                f"{TOKEN}; put a proxy with TLS before it.",
                file=sys.stderr,
            )
        server = ModelServer(_source(model, device), limits=limits, token=token, follow_s=follow_s)
        name = describe(server.model.current.pinned)
        run(server, bound, started=lambda: print(f"serving {name} at {url_of(bound)}", flush=True))


def _source(model: str, device: str) -> ModelSource:
    if model.startswith("models:/"):
        return RegistrySource(find_root(), model, device=device)
    return FolderSource(Path(model), device=device)
