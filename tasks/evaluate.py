"""Stage: score the model, its controls, the baseline and the ceilings on whole test scenes."""

import json

from hsipipe.artifacts import (
    ControlCheckpoint,
    DegradedPairs,
    DiffusionCheckpoint,
    Evaluation,
    GaeCheckpoint,
    RegressionCheckpoint,
)
from tasks.project import METRICS
from tasks.stage import StageRun, stage

HEADLINE = ("mpsnr_db", "sam_deg")


@stage(reads=("dataset", "split", "degradation", "sampling", "protocol", "hardware"))
def evaluate(
    run: StageRun,
    pairs: DegradedPairs,
    gae: GaeCheckpoint,
    diffusion: DiffusionCheckpoint,
    regression: RegressionCheckpoint,
    control: ControlCheckpoint,
) -> Evaluation:
    """Write predictions and errors for the report, and the numbers for everybody."""
    from hsipipe.degradation.pairs import pairs_index
    from hsipipe.evaluation.evaluate import evaluate_models
    from hsipipe.protocols import make_protocol

    params, index = run.params, pairs_index(pairs)
    protocol = make_protocol(
        params.protocol,
        dataset=params.dataset,
        split=params.split,
        degradation=params.degradation,
        plan=index["splits"],
        srf=index["srf"],
    )
    metrics = evaluate_models(
        pairs,
        gae,
        diffusion,
        regression,
        control,
        run.out,
        sampling=params.sampling,
        hardware=params.hardware,
        protocol=protocol,
    )
    run.publish_text(METRICS, json.dumps(metrics, indent=2) + "\n")
    shown = {name: row for name, row in metrics["models"].items() if row["kind"] in ("baseline", "model")}
    numbers = {f"{name}.{key}": row[key] for name, row in shown.items() for key in HEADLINE}
    numbers["gain_db"] = metrics["gain_db"]["dmgasr"]
    headline = {key: value for key, value in numbers.items() if value is not None}
    run.tracker.headline(headline)
    return run.finish(Evaluation, {**headline, "protocol.name": protocol.name, "protocol.hash": protocol.hash})
