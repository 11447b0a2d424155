"""What happened, recorded in MLflow. This package is the only importer of mlflow.

One parent run for each run of the pipeline, one nested run for each stage that had work to do. mlflow costs
seconds to import, so it is imported inside the functions.
"""

from tasks.tracking.models import load_registered, register_model, registered_uri
from tasks.tracking.runs import StageTracker, stage_run
from tasks.tracking.store import tracking_uri

__all__ = [
    "StageTracker",
    "load_registered",
    "register_model",
    "registered_uri",
    "stage_run",
    "tracking_uri",
]
