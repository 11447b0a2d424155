"""Load models from the registry, verified byte for byte against their registration."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.model_registry.store import connect, first_line, global_store
from hsipipe.storage.manifest import digest, verify

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


SHA256 = "sha256"
"""Tag of a version with the digest of its folder."""
FOLDER = "superresolver"
"""Name of the folder in the artifacts of a version."""


class PinnedModel(NamedTuple):
    """Fixed version of a registered model, independent of aliases.

    Attributes:
        name: Name of the registered model.
        version: Number of the version.
        sha256: Digest of the registered folder.
    """

    name: str
    version: str
    sha256: str

    @property
    def uri(self) -> str:
        """``models:/<name>/<version>``."""
        return f"models:/{self.name}/{self.version}"


def resolve_registered(root: Path, uri: str) -> PinnedModel:
    """Resolve a model URI to a version.

    Args:
        root: The project; its store is used unless ``MLFLOW_TRACKING_URI`` is set.
        uri: ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.

    Raises:
        MissingInputError: No such model, alias or version in the registry.
        IntegrityError: The version has no digest.
    """
    from mlflow.exceptions import MlflowException

    client = connect(root)
    try:
        version = _resolve(client, uri)
    except MlflowException as error:
        raise _missing(client, uri, error) from error
    expected = version.tags.get(SHA256)
    if expected is None:
        raise IntegrityError(f"{uri} has no digest; only models registered by the stage register can be loaded.")
    return PinnedModel(str(version.name), str(version.version), expected)


def load_pinned(root: Path, pinned: PinnedModel, *, device: str = "cpu") -> SuperResolver:
    """Load a version after comparing its bytes with its digest.

    Args:
        root: The project; its store is used unless ``MLFLOW_TRACKING_URI`` is set.
        pinned: The version.
        device: Torch device of the model.

    Raises:
        MissingInputError: The files of the version are not available.
        IntegrityError: The bytes differ from the registered ones.
    """
    from hsipipe.methods.catalogue import load_model

    # A temporary copy: the verified bytes are the loaded ones, and nothing is left behind.
    with TemporaryDirectory(prefix="hsipipe-model-") as place:
        return load_model(fetch_pinned(root, pinned, Path(place)), device=device, sha256=pinned.sha256)


def fetch_pinned(root: Path, pinned: PinnedModel, place: Path) -> Path:
    """Download the folder of a version into `place` and compare its bytes with its digest.

    Returns:
        The folder, in `place`.

    Raises:
        MissingInputError: The files of the version are not available.
        IntegrityError: The bytes differ from the registered ones.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        with global_store(root):
            local = mlflow.artifacts.download_artifacts(f"{pinned.uri}/artifacts/{FOLDER}", dst_path=str(place))
    except (MlflowException, OSError) as error:
        raise _missing(connect(root), pinned.uri, error) from error
    folder = Path(local)
    if (got := digest(folder)) != pinned.sha256:
        raise IntegrityError(
            f"{pinned.uri} has the digest {got}, expected {pinned.sha256}; run: dvc repro --force -s register"
        )
    verify(folder)
    return folder


def load_registered(root: Path, uri: str) -> SuperResolver:
    """Load a model from the registry; arguments and errors as in :func:`resolve_registered` and :func:`load_pinned`."""
    return load_pinned(root, resolve_registered(root, uri))


def _missing(client: "MlflowClient", uri: str, error: Exception) -> MissingInputError:
    names = ", ".join(model.name for model in client.search_registered_models()) or "none"
    return MissingInputError(f"No model at {uri!r}: {first_line(error).rstrip('.')}. Registered models: {names}.")


def _resolve(client: "MlflowClient", uri: str) -> "ModelVersion":
    rest = uri.removeprefix("models:/").strip("/")
    name, at, alias = rest.rpartition("@")
    if at:
        return client.get_model_version_by_alias(name, alias)
    name, slash, number = rest.rpartition("/")
    if not (slash and number.isascii() and number.isdigit()):
        raise MissingInputError(f"Got the model {uri!r}, expected models:/<name>@<alias> or models:/<name>/<version>.")
    return client.get_model_version(name, number)
