"""Where the runs are kept, and opening it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hsipipe.credentials import without_credentials
from hsipipe.errors import HsipipeError
from tasks.running.locks import wait_for
from tasks.running.project import locks

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NOISY = ("mlflow", "alembic")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""What MLflow's clients can use without a server between."""
CREATION_LOCK = 7_145_201_905
"""Key of the advisory lock in PostgreSQL; any number that nothing else in the database uses."""
CREATION_S = 120
BUSY_S = 60
"""How long a write waits for another process that holds the SQLite file; the five seconds of Python are soon over."""


def tracking_uri(root: Path) -> str:
    """``MLFLOW_TRACKING_URI`` if it is set, else the SQLite file of the project; with patience where it is SQLite."""
    uri = _address(root)
    return f"{uri}?timeout={BUSY_S}" if uri.startswith("sqlite:") and "?" not in uri else uri


def _address(root: Path) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


@contextmanager
def usable(root: Path) -> Iterator[None]:
    """Say of any failure of MLflow's in the body where the store is and what to do.

    Raises:
        HsipipeError: The store cannot be reached, is busy or is not one of MLflow's.
    """
    try:
        yield
    except HsipipeError:
        raise
    except Exception as error:
        raise HsipipeError(
            f"MLflow at {without_credentials(_address(root))} cannot be used: {first_line(error)} "
            "Start the server, or correct or unset MLFLOW_TRACKING_URI."
        ) from error


def connect(root: Path) -> "MlflowClient":
    """Open the store; the first one to come creates it.

    Raises:
        HsipipeError: The store cannot be reached or is not one of MLflow's.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that is down should be noticed in seconds, not after MLflow's minutes of retries.
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
    """The experiment called `name`, made if there is none."""
    from mlflow.exceptions import MlflowException

    with wait_for(locks(root) / "mlflow.lock"):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            # A server decides by itself where files go; a bare database would use the current folder.
            local = tracking_uri(root).startswith(DATABASES)
            location = str(root / "mlartifacts") if local else None
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except MlflowException:  # another machine was faster
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


@contextmanager
def _one_creator(uri: str) -> Iterator[None]:
    """Keep processes of other checkouts and machines from making the tables of an empty PostgreSQL at once.

    MLflow locks nothing there: the slower one fails, or migrates what the faster one is migrating.
    """
    if not uri.startswith("postgresql"):
        yield
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SET lock_timeout = '{CREATION_S}s'"))
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({CREATION_LOCK})"))
        # The lock ends with the connection, so one whose owner was killed is free.
        yield


@contextmanager
def global_store(root: Path) -> Iterator[None]:
    """Make it the store of MLflow's global functions while the body runs."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri(root))
    try:
        yield
    finally:
        # MLflow writes its store into the environment, where the next project would find it.
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # unsets it, though the annotation denies it
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def first_line(error: BaseException) -> str:
    """The message of an error without its tail and without credentials."""
    lines = without_credentials(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
