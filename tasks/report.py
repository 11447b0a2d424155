"""Stage: write the HTML report."""

from dataclasses import replace

from hsipipe.artifacts import Comparison, DegradedPairs, RegisteredModel, Report, Scores
from tasks.running.git import changed, head
from tasks.running.project import curves, read_metrics
from tasks.stage import StageRun, stage


@stage(reads=())
def report(run: StageRun, pairs: DegradedPairs, comparison: Comparison, registered: RegisteredModel) -> Report:
    """Write ``index.html`` and its figures."""
    from hsipipe.artifacts.registration import Registration
    from hsipipe.evaluation.report import Provenance, write_report
    from hsipipe.formats.provenance import date_of_results
    from hsipipe.storage.manifest import digest
    from tasks.tracking import pipeline_run, record_results, registering_run

    metrics = read_metrics(run.root)
    scores = {name: Scores.in_project(run.root, name).path for name in metrics["descriptions"]}
    entry = Registration.read(run.root)
    source = None
    if entry.version is not None:
        source = registering_run(run.tracker, entry.name, entry.version, digest(registered.path))
    # DVC has compared the code with that of every result, so the commit is that of all of them.
    provenance = Provenance(head(run.root), bool(changed(run.root)), entry, source, date=date_of_results())
    if (parent := pipeline_run(run.tracker, run.root)) is not None:
        url, command, seconds = parent
        provenance = replace(provenance, run_url=url, run_command=command, seconds=seconds)
    drawn = curves(run.root, metrics["trained"])
    summary = write_report(scores, metrics, run.out, pairs=pairs, curves=drawn, provenance=provenance)
    record_results(run.tracker, metrics, entry=entry, report=run.out)
    return run.finish(Report, summary)
