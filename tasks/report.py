"""Stage: the report for people."""

import json

from hsipipe.artifacts import Evaluation, Report
from tasks.project import METRICS, curve_path
from tasks.stage import StageRun, stage

TRAININGS = (
    "train_gae",
    "train_diffusion",
    "train_baseline",
    "train_control",
    "train_fusion",
    "train_fusion_baseline",
    "train_fusion_control",
)


@stage(reads=())
def report(run: StageRun, evaluation: Evaluation) -> Report:
    """Write ``index.html`` and its figures."""
    from hsipipe.evaluation.report import write_report

    metrics = json.loads((run.root / METRICS).read_text(encoding="utf-8"))
    curves = [run.root / curve_path(name) for name in TRAININGS]
    summary = write_report(evaluation, metrics, run.out, curves=curves)
    run.log_figure(run.out)
    return run.finish(Report, summary)
