"""Stage: score the model, its controls, the baselines and the ceilings on whole test scenes."""

import json

from hsipipe.artifacts import (
    ControlCheckpoint,
    DegradedPairs,
    DiffusionCheckpoint,
    Evaluation,
    FusionCheckpoint,
    FusionControlCheckpoint,
    FusionRegressionCheckpoint,
    GaeCheckpoint,
    RegressionCheckpoint,
)
from tasks.running.project import METRICS
from tasks.stage import StageRun, stage

HEADLINE = ("mpsnr_db", "sam_deg")


@stage(reads=("model", "dataset", "split", "degradation", "sampling", "fusion", "protocol", "hardware"))
def evaluate(
    run: StageRun,
    pairs: DegradedPairs,
    gae: GaeCheckpoint,
    diffusion: DiffusionCheckpoint,
    regression: RegressionCheckpoint,
    control: ControlCheckpoint,
    fusion: FusionCheckpoint,
    fusion_regression: FusionRegressionCheckpoint,
    fusion_control: FusionControlCheckpoint,
) -> Evaluation:
    """Write predictions and errors for the report, and the numbers for everybody."""
    from hsipipe.evaluation.evaluate import evaluate as score
    from hsipipe.evaluation.fusion_rows import rows_for
    from hsipipe.methods.device import device_for
    from hsipipe.methods.trained import Checkpoints, load_trained
    from hsipipe.protocols import make_protocol

    params, index = run.params, pairs.index()
    response = pairs.response() if params.model.fuses else None
    name, sampling, pair = params.protocol, params.sampling, params.fusion
    data, split, degradation = params.dataset, params.split, params.degradation
    plan, srf = index["splits"], index["srf"]
    protocol = make_protocol(name, dataset=data, split=split, degradation=degradation, plan=plan, srf=srf)
    checkpoints = Checkpoints(gae, diffusion, regression, control, fusion, fusion_regression, fusion_control)
    device = device_for(params.hardware.accelerator)
    trained = load_trained(checkpoints, fuses=params.model.fuses, sampling=sampling, fusion=pair, device=device)
    rows = rows_for(pairs, trained, sampling=sampling, fusion=pair, psf=protocol.psf, response=response)
    metrics = score(pairs, rows, run.out, protocol=protocol, response=response, of_pair=params.model.fuses)
    run.publish_text(METRICS, json.dumps(metrics, indent=2) + "\n")
    shown = {name: row for name, row in metrics["models"].items() if row["kind"] in ("baseline", "model")}
    numbers = {f"{name}.{key}": row[key] for name, row in shown.items() for key in HEADLINE}
    numbers["gain_db"] = metrics["gain_db"][params.model.name]
    headline = {key: value for key, value in numbers.items() if value is not None}
    run.tracker.headline(headline)
    return run.finish(Evaluation, {**headline, "protocol.name": protocol.name, "protocol.hash": protocol.hash})
