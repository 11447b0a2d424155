"""Stage: the report for people."""

import json

from hsipipe.artifacts import Evaluation, Report
from tasks.catalogue import NAMES
from tasks.running.project import METRICS, curve_path
from tasks.stage import StageRun, stage

TRAININGS = tuple(name for name in NAMES if name.startswith("train_"))


@stage(reads=())
def report(run: StageRun, evaluation: Evaluation) -> Report:
    """Write ``index.html`` and its figures."""
    from hsipipe.evaluation.report import write_report

    metrics = json.loads((run.root / METRICS).read_text(encoding="utf-8"))
    curves = [run.root / curve_path(name) for name in TRAININGS]
    summary = write_report(evaluation, metrics, run.out, curves=curves)
    run.log_figure(run.out)
    return run.finish(Report, summary)
