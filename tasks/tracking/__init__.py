"""Record runs and models in MLflow. No other package imports mlflow.

One parent run for each run of the pipeline, one nested run for each stage that had work to do. Importing mlflow takes
seconds, so the functions import it.
"""

from tasks.tracking.champion import Standing, promote, registered_names, rollback, standing
from tasks.tracking.load import PinnedModel, fetch_pinned, load_pinned, load_registered, resolve_registered
from tasks.tracking.moves import Move
from tasks.tracking.reconcile import Reconciled, close_dead_runs
from tasks.tracking.register import CHALLENGER, register_model, registered_uri, registering_run
from tasks.tracking.runs import StageTracker, stage_run
from tasks.tracking.store import tracking_uri

__all__ = [
    "CHALLENGER",
    "Move",
    "PinnedModel",
    "Reconciled",
    "StageTracker",
    "Standing",
    "close_dead_runs",
    "fetch_pinned",
    "load_pinned",
    "load_registered",
    "promote",
    "register_model",
    "registered_names",
    "registered_uri",
    "registering_run",
    "resolve_registered",
    "rollback",
    "stage_run",
    "standing",
    "tracking_uri",
]
