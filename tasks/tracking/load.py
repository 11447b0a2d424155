"""Out of the model registry: what is loaded is what was registered, byte for byte."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from hsipipe.errors import IntegrityError, MissingInputError
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.storage.manifest import digest, verify
from tasks.tracking.register import FOLDER, SHA256
from tasks.tracking.store import connect, first_line, global_store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


class PinnedModel(NamedTuple):
    """A version of the registry, which no alias moves any more.

    Attributes:
        name: Of the registered model.
        version: Its number.
        sha256: Digest of the folder that was registered.
    """

    name: str
    version: str
    sha256: str

    @property
    def uri(self) -> str:
        """``models:/<name>/<version>``."""
        return f"models:/{self.name}/{self.version}"


def resolve_registered(root: Path, uri: str) -> PinnedModel:
    """The version that an URI means now.

    Args:
        root: The project; its store is used unless ``MLFLOW_TRACKING_URI`` is set.
        uri: ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.

    Raises:
        MissingInputError: The registry has no such model, alias or version.
        IntegrityError: The version carries no digest.
    """
    from mlflow.exceptions import MlflowException

    client = connect(root)
    try:
        version = _resolve(client, uri)
    except MlflowException as error:
        raise _missing(client, uri, error) from error
    expected = version.tags.get(SHA256)
    if expected is None:
        raise IntegrityError(f"{uri} carries no digest; only models that the stage register made are loaded.")
    return PinnedModel(str(version.name), str(version.version), expected)


def load_pinned(root: Path, pinned: PinnedModel, *, device: str = "cpu") -> SuperResolver:
    """Load a version after comparing its bytes with the digest that it was tagged with.

    Args:
        root: The project; its store is used unless ``MLFLOW_TRACKING_URI`` is set.
        pinned: The version.
        device: Where the model runs, in torch's terms.

    Raises:
        MissingInputError: The files of the version cannot be had.
        IntegrityError: The bytes are not those that were registered.
    """
    from hsipipe.methods.catalogue import load_model

    # A copy of its own: what is verified is what is loaded, and nothing of it stays.
    with TemporaryDirectory(prefix="hsipipe-model-") as place:
        return load_model(fetch_pinned(root, pinned, Path(place)), device=device, sha256=pinned.sha256)


def fetch_pinned(root: Path, pinned: PinnedModel, place: Path) -> Path:
    """Bring the folder of a version into `place`, after comparing its bytes with the digest that it was tagged with.

    Returns:
        The folder, in `place`.

    Raises:
        MissingInputError: The files of the version cannot be had.
        IntegrityError: The bytes are not those that were registered.
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
            f"{pinned.uri} has the digest {got}, registered was {pinned.sha256}; run: dvc repro --force -s register"
        )
    verify(folder)
    return folder


def load_registered(root: Path, uri: str) -> SuperResolver:
    """Load a model of the registry; arguments and errors as in :func:`resolve_registered` and :func:`load_pinned`."""
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
