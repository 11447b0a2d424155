"""Stage: write the HTML report."""

from hsipipe.artifacts import Comparison, Report, Scores
from tasks.running.project import curves, read_metrics
from tasks.stage import StageRun, stage


@stage(reads=())
def report(run: StageRun, comparison: Comparison) -> Report:
    """Write ``index.html`` and its figures."""
    from hsipipe.evaluation.report import write_report

    metrics = read_metrics(run.root)
    scores = {name: Scores.in_project(run.root, name).path for name in metrics["descriptions"]}
    summary = write_report(scores, metrics, run.out, curves=curves(run.root, metrics["trained"]))
    run.log_figure(run.out)
    return run.finish(Report, summary)
