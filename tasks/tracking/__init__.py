"""Record runs and models in MLflow; :mod:`hsipipe.model_registry` reads the models.

One parent run for each run of the pipeline, one nested run for each stage that had work to do. Importing mlflow takes
seconds, so the functions import it, as they do the texts (:mod:`tasks.tracking.texts`).
"""

from tasks.tracking.champion import Standing, promote, registered_names, rollback, standing
from tasks.tracking.moves import Move
from tasks.tracking.reconcile import Reconciled, close_dead_runs
from tasks.tracking.register import CHALLENGER, register_model, registered_uri, registering_run
from tasks.tracking.results import how_to_open, pipeline_run, record_results
from tasks.tracking.runs import StageTracker, stage_run

__all__ = [
    "CHALLENGER",
    "Move",
    "Reconciled",
    "StageTracker",
    "Standing",
    "close_dead_runs",
    "how_to_open",
    "pipeline_run",
    "promote",
    "record_results",
    "register_model",
    "registered_names",
    "registered_uri",
    "registering_run",
    "rollback",
    "stage_run",
    "standing",
]
