"""Locate and open the MLflow store."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hsipipe.checkout import find_root, locks
from hsipipe.credentials import without_credentials
from hsipipe.errors import HsipipeError, MissingInputError
from hsipipe.extras import require_packages
from hsipipe.locks import wait_for

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NOISY = ("mlflow", "alembic")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Databases that MLflow's clients use without a server."""
CREATION_LOCK = 7_145_201_905
"""Key of the advisory lock in PostgreSQL; an arbitrary number that nothing else in the database uses."""
CREATION_S = 120
BUSY_S = 60
"""Timeout in seconds for a write to a locked SQLite file; Python's default is 5 s."""

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # training, in contrast to applications of language models
    "mlflow.note.content": "One run for each run of the pipeline, with its results; the children are its stages.",
}
"""Tags of an experiment, shown by the MLflow UI; existing ones are kept."""


def store_root() -> Path:
    """Return the project whose store is used; outside of one, the folder of the cache, for ``MLFLOW_TRACKING_URI``.

    Raises:
        MissingExtraError: MLflow is not installed.
        MissingInputError: There is neither a project nor an address.
    """
    require_packages("mlflow", what="A model of the registry")
    try:
        return find_root()
    except MissingInputError as error:
        if os.environ.get("MLFLOW_TRACKING_URI"):
            from hsipipe.datasets.download import cache_folder

            return cache_folder()
        raise MissingInputError(
            f"No registry of models: {Path.cwd()} is in no project; run this inside of one, or set MLFLOW_TRACKING_URI "
            "to the address of an MLflow server or database."
        ) from error


def tracking_uri(root: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI``, else the project's SQLite file; SQLite gets a longer lock timeout."""
    uri = store_address(root)
    return f"{uri}?timeout={BUSY_S}" if uri.startswith("sqlite:") and "?" not in uri else uri


def store_address(root: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI``, else the address of the project's SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


@contextmanager
def usable(root: Path) -> Iterator[None]:
    """Turn any MLflow failure in the body into an error that names the store and the fix.

    Raises:
        HsipipeError: The store is unreachable, busy or not an MLflow store.
    """
    try:
        yield
    except HsipipeError:
        raise
    except Exception as error:
        raise HsipipeError(
            f"MLflow at {without_credentials(store_address(root))} cannot be used: {first_line(error)} "
            "Start the server, or correct or unset MLFLOW_TRACKING_URI."
        ) from error


def connect(root: Path) -> "MlflowClient":
    """Open the store; create it if it does not exist.

    Raises:
        HsipipeError: The store is unreachable or not an MLflow store.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's default retries take minutes when a server is down.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # At the end of a run MLflow prints its address with the credentials in it.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = tracking_uri(root)
    # Processes that create the same SQLite file at once corrupt it for good.
    with wait_for(locks(root) / "mlflow.lock"):
        with usable(root), _one_creator(uri):
            client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI"))
            client.search_experiments(max_results=1)
    return client


def experiment_id(client: "MlflowClient", root: Path, name: str) -> str:
    """Return the id of an experiment; create it if it does not exist, and set those of its tags that are missing."""
    from mlflow.exceptions import MlflowException

    with wait_for(locks(root) / "mlflow.lock"):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            # A server has its own artifact location; a bare database would use the current folder.
            local = tracking_uri(root).startswith(DATABASES)
            location = str(root / "mlartifacts") if local else None
            try:
                return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS))
            except MlflowException:  # another machine has created it meanwhile
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
        for key in EXPERIMENT_TAGS.keys() - experiment.tags.keys():
            client.set_experiment_tag(experiment.experiment_id, key, EXPERIMENT_TAGS[key])
    return str(experiment.experiment_id)


@contextmanager
def _one_creator(uri: str) -> Iterator[None]:
    """Prevent other checkouts and machines from creating the tables of an empty PostgreSQL at the same time.

    MLflow takes no lock there: the second process fails, or migrates the same tables.
    """
    if not uri.startswith("postgresql"):
        yield
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SET lock_timeout = '{CREATION_S}s'"))
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({CREATION_LOCK})"))
        # The lock ends with the connection, also when its owner is killed.
        yield


@contextmanager
def global_store(root: Path) -> Iterator[None]:
    """Use the project's store in MLflow's global functions while the body runs."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri(root))
    try:
        yield
    finally:
        # MLflow writes the address of its store into the environment, where another project would use it.
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # None unsets it, contrary to the annotation
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without credentials."""
    lines = without_credentials(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
