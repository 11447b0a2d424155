"""Register models; the same content is registered once."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hsipipe.checkout import locks
from hsipipe.locks import wait_for
from hsipipe.methods.super_resolver import SuperResolver
from hsipipe.model_registry.load import FOLDER, SHA256
from hsipipe.model_registry.store import connect, global_store
from hsipipe.storage.manifest import digest
from tasks.tracking.runs import StageTracker

if TYPE_CHECKING:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient
    from mlflow.types import TensorSpec
    from numpy.typing import NDArray

    from tasks.tracking.texts import Card

CHALLENGER = "challenger"
MODELS = (
    "One version for each new best method on the validation scenes. The alias challenger names the newest version, the "
    "alias champion the one in use. Each version has a card."
)
"""Description of a registered model."""
EXAMPLE = 8
"""Edge of the example input in pixels, and its band count where a model accepts any."""
REQUIREMENTS = ("hsipipe", "torch", "numpy", "safetensors")


def register_model(
    root: Path,
    folder: Path,
    *,
    tracker: StageTracker,
    model: SuperResolver,
    tags: Mapping[str, object],
    card: "Card | None" = None,
) -> int:
    """Register a super-resolver under the experiment's name and point the alias `challenger` at it.

    Args:
        root: The project.
        folder: Folder ``superresolver`` with the model and its manifest.
        tracker: Run of the stage register.
        model: The loaded model; its bands and scale determine the signature.
        tags: Tags of the version, such as scores and protocol.
        card: Description of the version, unless it has one.

    Returns:
        The version, new or existing with the same bytes.
    """
    client, name, sha256 = tracker.client, tracker.experiment, digest(folder)
    with wait_for(locks(root) / "registry.lock"):
        number = _version_with(client, name, sha256)
        if number is None:
            inputs = ModelInputs(model.bands, model.msi_bands, model.scale)
            number = _log(root, folder, tracker=tracker, inputs=inputs, sha256=sha256)
            for key, value in {SHA256: sha256, **tags}.items():
                client.set_model_version_tag(name, number, key, str(value))
        if card is not None:
            _describe(client, name, number, card)
        client.set_registered_model_alias(name, CHALLENGER, number)
    return int(number)


def _describe(client: "MlflowClient", name: str, number: str, card: "Card") -> None:
    """Set the descriptions of the model and of the version that are empty; those of users stay."""
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, MODELS)
    if not client.get_model_version(name, number).description:
        client.update_model_version(name, number, card.text(f"models:/{name}/{number}"))


def registering_run(tracker: StageTracker, name: str, version: int, sha256: str) -> str | None:
    """Return the id of the run that registered a version first.

    Args:
        tracker: Run of a stage.
        name: Name of the registered model.
        version: Its version.
        sha256: Digest of the model's folder.

    Returns:
        The id; None if MLflow does not answer, or has no such version of these bytes.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    found: list[str] = []

    def ask() -> None:
        try:
            entry = tracker.client.get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            return  # the registry is another one, or the version was deleted
        if entry.tags.get(SHA256) == sha256:
            found.append(str(entry.run_id))

    tracker.attempt(ask)
    return next(iter(found), None)


class ModelInputs(NamedTuple):
    """Inputs of a model, for MLflow.

    Attributes:
        bands: C of the LR-HSI; None: any.
        msi_bands: c of the HR-MSI; 0: no HR-MSI; None: any.
        scale: Ratio of the pixel sizes, s.
    """

    bands: int | None
    msi_bands: int | None
    scale: int

    def signature(self) -> "ModelSignature":
        """Return the signature: one unnamed tensor (B, C, h, w), or in fusion the two tensors ``lr`` and ``msi``."""
        from mlflow.models import ModelSignature
        from mlflow.types import ParamSchema, ParamSpec, Schema

        cubes = inputs = Schema([_tensor(self.bands)])
        if self.msi_bands != 0:
            inputs = Schema([_tensor(self.bands, "lr"), _tensor(self.msi_bands, "msi")])
        params = [
            ParamSpec("guard", "string", "warn"),
            ParamSpec("wavelength_nm", "double", [], shape=(-1,)),
            ParamSpec("samples", "long", 0),
            ParamSpec("statistic", "string", "mean"),
        ]
        return ModelSignature(inputs=inputs, outputs=cubes, params=ParamSchema(params))

    def example(self) -> "NDArray[np.float32] | dict[str, NDArray[np.float32]]":
        """Return a small gray input."""
        lr = _grey(self.bands, EXAMPLE)
        return lr if self.msi_bands == 0 else {"lr": lr, "msi": _grey(self.msi_bands, EXAMPLE * self.scale)}


def _tensor(bands: int | None, name: str | None = None) -> "TensorSpec":
    import numpy as np
    from mlflow.types import TensorSpec

    return TensorSpec(np.dtype("float32"), (-1, -1 if bands is None else bands, -1, -1), name)


def _grey(bands: int | None, edge: int) -> "NDArray[np.float32]":
    import numpy as np

    return np.full((1, EXAMPLE if bands is None else bands, edge, edge), 0.5, np.float32)


def registered_uri(root: Path, name: str) -> str | None:
    """Return the URI of the challenger of a registered model; None without one."""
    from mlflow.exceptions import MlflowException

    try:
        connect(root).get_model_version_by_alias(name, CHALLENGER)
    except MlflowException:
        return None
    return f"models:/{name}@{CHALLENGER}"


def _version_with(client: "MlflowClient", name: str, sha256: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}' and tags.{SHA256} = '{sha256}'")
    return str(max((int(version.version) for version in found), default=0) or "") or None


def _log(root: Path, folder: Path, *, tracker: StageTracker, inputs: ModelInputs, sha256: str) -> str:
    import mlflow

    with global_store(root), mlflow.start_run(run_id=tracker.run_id), _without_warnings():
        info: Any = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={FOLDER: str(folder)},
            model_config={SHA256: sha256},
            signature=inputs.signature(),
            input_example=inputs.example(),
            # Given rather than inferred: inference would load the model in another process and import all it finds.
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
            registered_model_name=tracker.experiment,
        )
    # Leaving the block has marked the run as finished, but it continues.
    tracker.client.update_run(tracker.run_id, status="RUNNING")
    return str(info.registered_model_version)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide the warnings of the model: MLflow predicts the example, which is unlike any scene."""
    logger = logging.getLogger("hsipipe.model")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
