"""Stage: combine the scores of all methods into one table."""

import json

from hsipipe.artifacts import Comparison, Scores
from tasks.running.project import METRICS, drop_other_rows
from tasks.stage import StageRun, stage


@stage(reads=("compare", "seeds", "steps"))
def compare(run: StageRun, scores: list[Scores]) -> Comparison:
    """Write the numbers into ``reports/metrics.json``, and the table as Markdown, CSV and figure."""
    from hsipipe.evaluation.comparison import RowScores, as_csv, as_markdown, compare_scores, read_scores
    from hsipipe.evaluation.figures import method_dots, save
    from hsipipe.evaluation.headline import headline
    from tasks.running.rows import table_rows
    from tasks.tracking import record_results

    of_row = {score.path.name: score for score in scores}
    drop_other_rows(run.root, list(of_row))
    rows = [
        RowScores(name, [read_scores(of_row[row.name].path) for row in group])
        for name, group in table_rows(run.params).items()
    ]
    metrics = compare_scores(rows)
    (run.out / "table.md").write_text(as_markdown(metrics), encoding="utf-8")
    (run.out / "table.csv").write_text(as_csv(metrics), encoding="utf-8")
    save(method_dots(metrics), run.out / "methods.png")
    run.log_figure(run.out / "methods.png")
    record_results(run.tracker, metrics)
    run.publish_text(METRICS, json.dumps(metrics, indent=2) + "\n")
    # The best first: the log shows the first number.
    gains, best = metrics["gain_db"], headline(metrics).best
    order = sorted(gains, key=lambda name: name != best)
    return run.finish(Comparison, {f"gain_db.{name}": gains[name] for name in order if gains[name] is not None})
