"""Load the model that a sharpening starts from, out of a folder or the registry."""

from pathlib import Path
from typing import cast

from hsipipe.commands.early import REGISTRY, check_model
from hsipipe.methods.base import Method
from hsipipe.methods.catalogue import load_model
from hsipipe.sharpen.start import Start, startable
from hsipipe.storage.manifest import digest


def read_start(model: str) -> Start:
    """Load a network to start from.

    Args:
        model: Folder of a model, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        MissingInputError: There is no such model, or no registry.
        IntegrityError: A file of it is corrupt.
        ModelInputError: It is no network that carries over to another sensor.
    """
    check_model(model)
    if not model.startswith(REGISTRY):
        sha256 = digest(Path(model))
        network = startable(load_model(model, sha256=sha256), model)
        return Start(network, model, network.name, None, sha256)
    from hsipipe.model_registry.load import load_pinned, resolve_registered
    from hsipipe.model_registry.store import store_root

    pinned = resolve_registered(root := store_root(), model)
    # The registry gives a super-resolver; this project registers methods alone.
    network = startable(cast(Method, load_pinned(root, pinned)), pinned.uri)
    return Start(network, pinned.uri, pinned.name, pinned.version, pinned.sha256)
