"""What happened, recorded in MLflow. This package is the only importer of mlflow.

One parent run for each run of the pipeline, one nested run for each stage that had work to do; a sweep is a run above
those of its points. mlflow costs seconds to import, so it is imported inside the functions.
"""

from tasks.tracking.models import (
    PinnedModel,
    load_pinned,
    load_registered,
    register_model,
    registered_uri,
    resolve_registered,
)
from tasks.tracking.runs import StageTracker, stage_run
from tasks.tracking.store import tracking_uri
from tasks.tracking.sweeps import log_point, sweep_run

__all__ = [
    "PinnedModel",
    "StageTracker",
    "load_pinned",
    "load_registered",
    "log_point",
    "register_model",
    "registered_uri",
    "resolve_registered",
    "stage_run",
    "sweep_run",
    "tracking_uri",
]
